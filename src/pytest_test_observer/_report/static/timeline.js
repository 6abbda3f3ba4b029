// The timeline of a run: a lane for each worker, a bar for each attempt; idle workers are gaps, the long pole sticks out.

const LANE = { most: 30, least: 14, gap: 4, axis: 22 };

let waterfall = null;

function lanesOf(timeline) {
  const lanes = new Map();
  for (const slot of timeline.all) {
    const worker = timeline.worker[slot];
    if (!lanes.has(worker)) lanes.set(worker, []);
    lanes.get(worker).push(slot);
  }
  const names = [...lanes.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const end = (slot) => timeline.start[slot] + timeline.length[slot];
  return names.map((name) => {
    const slots = lanes.get(name).sort((a, b) => timeline.start[a] - timeline.start[b] || a - b);
    let [busy, ended] = [0, 0];
    for (const slot of slots) {
      // rounded times may overlap a little: what is covered twice counts once
      busy += Math.max(0, end(slot) - Math.max(ended, timeline.start[slot]));
      ended = Math.max(ended, end(slot));
    }
    return { name, slots, busy, ended };
  });
}

function summary(timeline, lanes, whole) {
  const busy = percent(sum(lanes.map((lane) => lane.busy)), whole * lanes.length);
  const last = lanes.reduce((a, b) => (b.ended > a.ended ? b : a));
  const first = lanes.reduce((a, b) => (b.ended < a.ended ? b : a));
  const longest = timeline.all.reduce((a, b) => (timeline.length[b] > timeline.length[a] ? b : a), 0);
  const workers = lanes.length > 1
    ? `${lanes.length} workers, busy ${busy} of the time. ${last.name} was the last to end, ${seconds((last.ended - first.ended) / 1000)} after ${first.name}. `
    : `One process, busy ${busy} of the time. `;
  return { text: `${workers}The longest test took ${seconds(timeline.length[longest] / 1000)}: `, longest };
}

function drawTimeline(timeline) {
  const lanes = lanesOf(timeline);
  const whole = Math.max(1, ...lanes.map((lane) => lane.ended));
  const { text, longest } = summary(timeline, lanes, whole);
  const canvas = make("canvas");
  const rubber = make("div", { class: "rubber", hidden: true });
  const box = make("div", { class: "lanes", tabindex: "0", role: "group", "aria-roledescription": "timeline",
    "aria-label": "Timeline by worker. Left and right go from test to test, up and down from worker to worker, plus and minus zoom." }, canvas, rubber);
  const picked = make("div", { class: "picked", "aria-live": "polite" });
  const buttons = make("div", { class: "links" },
    button("Zoom in", () => zoom(0.5)), button("Zoom out", () => zoom(2)), button("Whole run", () => view(0, whole)),
    button("Longest test", () => { pick(longest); frame(longest); }));
  const legend = make("div", { class: "facts legend-line" }, STATUSES.map((status) => sign(status, status === "flaky" ? "repeated" : status)));
  byId("timeline-card").replaceChildren(make("p", {}, text, testLink(timeline.test[longest])), box, buttons, legend, picked, make("p", { class: "keys" },
    "Click a test, or drag over a stretch to zoom in. Keys: ", ...["←", "→", "↑", "↓", "+", "−", "0"].flatMap((key) => [make("kbd", {}, key), " "]), "and ", make("kbd", {}, "Enter"), " for the test's row."));
  let [from, to] = [0, whole];
  let chosen = null;
  let gutter = 0;
  const laneHeight = Math.max(LANE.least, Math.min(LANE.most, 480 / lanes.length));
  const height = Math.ceil(laneHeight * lanes.length + LANE.axis);
  const laneOf = new Map(lanes.flatMap((lane, index) => lane.slots.map((slot) => [slot, index])));

  const x = (ms, width) => gutter + ((ms - from) / (to - from)) * (width - gutter);
  const statusOf = (slot) => STATUS_OF[timeline.outcome[slot]] ?? "broken";

  function draw() {
    const width = box.clientWidth;
    if (!width) return;
    const scale = window.devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = height * scale;
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = "12px system-ui, sans-serif";
    const words = lanes.map((lane) => `${lane.name}  ${percent(lane.busy, whole)}`);
    gutter = width < 520 ? Math.max(...lanes.map((lane) => pen.measureText(lane.name).width)) + 8 : Math.max(...words.map((word) => pen.measureText(word).width)) + 12;
    const colors = Object.fromEntries([...STATUSES, "text", "soft", "grid", "card", "line"].map((name) => [name, color(name)]));
    ticks(pen, width, colors);
    lanes.forEach((lane, index) => {
      const top = LANE.axis + index * laneHeight;
      pen.fillStyle = colors.grid;
      pen.fillRect(gutter, top, width - gutter, laneHeight - LANE.gap);
      bars(pen, lane, top, width, colors);
      pen.fillStyle = colors.card;
      pen.fillRect(0, top, gutter, laneHeight);
      pen.fillStyle = colors.soft;
      pen.fillText(width < 520 ? lane.name : words[index], 0, top + (laneHeight - LANE.gap) / 2 + 4);
    });
    outline(pen, width, colors);
  }

  function ticks(pen, width, colors) {
    const step = 1000 * (STEPS.find((one) => (to - from) / 1000 / one <= (width - gutter) / 80) ?? STEPS.at(-1));
    pen.fillStyle = colors.soft;
    pen.strokeStyle = colors.line;
    pen.beginPath();
    for (let ms = Math.ceil(from / step) * step; ms <= to; ms += step) {
      const at = x(ms, width);
      pen.moveTo(at, LANE.axis - 5);
      pen.lineTo(at, height);
      const word = step < 1000 && ms >= 1000 ? `${(ms / 1000).toFixed(step < 10 ? 3 : 2)} s` : mark(ms / 1000);
      if (at + pen.measureText(word).width < width) pen.fillText(word, at + 3, 12);
    }
    pen.stroke();
  }

  // What passed is drawn first and as narrow as it is: of 20,000 tests the one that failed must be seen.
  function bars(pen, lane, top, width, colors) {
    for (const good of [true, false]) {
      let filled = -1;
      for (const slot of lane.slots) {
        const status = statusOf(slot);
        if ((status === "passed" || status === "skipped") !== good) continue;
        const begin = timeline.start[slot];
        if (begin + timeline.length[slot] < from || begin > to) continue;
        const left = x(begin, width);
        const right = x(begin + timeline.length[slot], width);
        const wide = Math.max(right - left - (right - left > 3 ? 1 : 0), good ? 0.7 : 3);
        if (good && left + wide < filled + 0.4) continue;
        filled = left + wide;
        pen.fillStyle = colors[status];
        pen.fillRect(left, top, wide, laneHeight - LANE.gap);
        if (right - left > 24) inside(pen, slot, left, right, top, width, colors);
      }
    }
  }

  // Where there is room: setup and teardown are paler than the call, and the test has its name.
  function inside(pen, slot, left, right, top, width, colors) {
    const call = x(timeline.start[slot] + timeline.setup[slot], width);
    const down = x(timeline.start[slot] + timeline.length[slot] - timeline.teardown[slot], width);
    pen.globalAlpha = 0.45;
    pen.fillStyle = colors.card;
    pen.fillRect(left, top, Math.max(0, call - left), laneHeight - LANE.gap);
    pen.fillRect(down, top, Math.max(0, right - 1 - down), laneHeight - LANE.gap);
    pen.globalAlpha = 1;
    const begin = Math.max(left, gutter);
    if (right - begin < 60 || laneHeight < 18) return;
    pen.save();
    pen.beginPath();
    pen.rect(begin, top, Math.min(right, width) - begin - 4, laneHeight);
    pen.clip();
    pen.fillStyle = statusOf(slot) === "skipped" ? colors.text : colors.card;
    pen.fillText(tests.nodeid[timeline.test[slot]].replace(/^.*?::/, ""), begin + 5, top + (laneHeight - LANE.gap) / 2 + 4);
    pen.restore();
  }

  function outline(pen, width, colors) {
    if (chosen === null) return;
    const left = Math.max(gutter, x(timeline.start[chosen], width));
    const right = Math.min(width, x(timeline.start[chosen] + timeline.length[chosen], width));
    if (right < gutter || left > width) return;
    pen.strokeStyle = colors.text;
    pen.lineWidth = 2;
    pen.strokeRect(left - 1, LANE.axis + laneOf.get(chosen) * laneHeight - 1, Math.max(4, right - left + 1), laneHeight - LANE.gap + 2);
  }

  function view(begin, end) {
    const span = Math.max(Math.min(end - begin, whole), Math.min(whole, 2));
    from = Math.max(0, Math.min(begin, whole - span));
    to = from + span;
    draw();
  }

  function zoom(factor) {
    const middle = chosen === null ? (from + to) / 2 : timeline.start[chosen] + timeline.length[chosen] / 2;
    const span = (to - from) * factor;
    view(middle - span / 2, middle + span / 2);
  }

  const frame = (slot) => view(timeline.start[slot] - timeline.length[slot], timeline.start[slot] + 2 * timeline.length[slot]);

  function pick(slot) {
    chosen = slot;
    const [begin, length] = [timeline.start[slot], timeline.length[slot]];
    if (begin + length < from || begin > to) view(begin - (to - from) / 2, begin + (to - from) / 2);
    else draw();
    const phases = ["setup", "call", "teardown"].filter((phase) => timeline[phase][slot]);
    picked.replaceChildren(testLink(timeline.test[slot]),
      facts([
        ["", verdict(timeline.outcome[slot])],
        ["on", timeline.worker[slot]],
        ["attempt", timeline.attempt[slot] > 1 ? timeline.attempt[slot] : ""],
        ["after", seconds(begin / 1000)],
        ["took", `${seconds(length / 1000)}${phases.length > 1 ? ` (${phases.map((phase) => `${phase} ${seconds(timeline[phase][slot] / 1000)}`).join(", ")})` : ""}`],
      ]),
      make("div", { class: "links" }, traceLink(timeline.trace[slot]), link(runs.ci_url[timeline.run], "CI job")));
    picked.dataset.slot = slot;
  }

  function slotAt(event) {
    const place = canvas.getBoundingClientRect();
    const lane = lanes[Math.floor((event.clientY - place.top - LANE.axis) / laneHeight)];
    if (!lane) return null;
    const ms = from + ((event.clientX - place.left - gutter) / (place.width - gutter)) * (to - from);
    const pixel = (to - from) / (place.width - gutter);
    const near = (slot) => Math.max(timeline.start[slot] - ms, ms - timeline.start[slot] - timeline.length[slot], 0) / pixel - (isBad(statusOf(slot)) ? 2 : 0);
    const best = lane.slots.reduce((a, b) => (near(b) < near(a) ? b : a), lane.slots[0]);
    return near(best) < 4 ? best : null;
  }

  // --- pointer: a click picks, a drag zooms in (a finger that drags moves the page, or the stretch that is shown)

  let drag = null;
  const at = (event) => event.clientX - canvas.getBoundingClientRect().left;
  box.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    drag = { begin: at(event), view: [from, to], touch: event.pointerType === "touch" };
    box.setPointerCapture(event.pointerId);
  });
  box.addEventListener("pointermove", (event) => {
    if (!drag) {
      const slot = slotAt(event);
      box.title = slot === null ? "" : `${tests.nodeid[timeline.test[slot]]}, ${timeline.outcome[slot]}, ${seconds(timeline.length[slot] / 1000)}`;
      return;
    }
    const moved = at(event) - drag.begin;
    if (drag.touch) {
      const shift = (moved / (box.clientWidth - gutter)) * (drag.view[1] - drag.view[0]);
      view(drag.view[0] - shift, drag.view[1] - shift);
    } else if (Math.abs(moved) > 4) {
      rubber.hidden = false;
      rubber.style.left = `${Math.min(at(event), drag.begin)}px`;
      rubber.style.width = `${Math.abs(moved)}px`;
    }
  });
  box.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const ends = [drag.begin, at(event)].sort((a, b) => a - b);
    const { touch } = drag;
    drag = null;
    rubber.hidden = true;
    if (ends[1] - ends[0] <= 4) {
      const slot = slotAt(event);
      if (slot !== null) pick(slot);
    } else if (!touch) {
      const [begin, end] = ends.map((px) => from + ((px - gutter) / (box.clientWidth - gutter)) * (to - from));
      view(begin, end);
    }
  });
  box.addEventListener("pointercancel", () => { drag = null; rubber.hidden = true; });
  box.addEventListener("dblclick", () => view(0, whole));

  // --- keys

  function beside(step) {
    if (chosen === null) return lanes[0].slots[0];
    const { slots } = lanes[laneOf.get(chosen)];
    return slots[Math.max(0, Math.min(slots.length - 1, slots.indexOf(chosen) + step))];
  }

  function across(step) {
    if (chosen === null) return lanes[0].slots[0];
    const { slots } = lanes[Math.max(0, Math.min(lanes.length - 1, laneOf.get(chosen) + step))];
    const far = (slot) => Math.abs(timeline.start[slot] - timeline.start[chosen]);
    return slots.reduce((a, b) => (far(b) < far(a) ? b : a));
  }

  const keys = {
    ArrowLeft: () => pick(beside(-1)), ArrowRight: () => pick(beside(1)), ArrowUp: () => pick(across(-1)), ArrowDown: () => pick(across(1)),
    Home: () => pick(lanes[chosen === null ? 0 : laneOf.get(chosen)].slots[0]), End: () => pick(lanes[chosen === null ? 0 : laneOf.get(chosen)].slots.at(-1)),
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => view(0, whole), Escape: () => view(0, whole),
    Enter: () => chosen !== null && showTest(timeline.test[chosen]),
  };
  box.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });

  const observer = new ResizeObserver(() => (box.isConnected ? draw() : observer.disconnect()));
  observer.observe(box);
  picked.replaceChildren(make("p", { class: "soft" }, "No test is picked."));
  waterfall = { timeline, draw, pick, frame };
}

function drawTimelines() {
  const options = timelines.map((timeline, index) => [String(index), `${moment(runs.started[timeline.run])} · ${runLine(timeline.run)}`]);
  const select = choice("Run", options, (value) => drawTimeline(timelines[Number(value)]));
  select.id = "timeline-run";
  byId("timeline-controls").replaceChildren(timelines.length > 1 ? select : make("span", { class: "soft" }, options[0][1]));
  drawTimeline(timelines[0]);
}

function showInTimeline(timeline, test) {
  if (waterfall.timeline !== timeline) drawTimeline(timeline);
  const select = byId("timeline-run");
  if (select) select.value = String(timelines.indexOf(timeline));
  const slot = timeline.test.indexOf(test);
  byId("timeline").scrollIntoView();
  waterfall.pick(slot);
  waterfall.frame(slot);
  byId("timeline-card").querySelector(".lanes").focus({ preventScroll: true });
}
