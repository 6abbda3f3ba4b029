// Trends over runs, and how long tests take.

const HOUR = 3_600_000;
const WIDTHS = [HOUR, 6 * HOUR, 24 * HOUR, 7 * 24 * HOUR, 28 * 24 * HOUR];
// Seconds between marks of an axis.
const STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 36_000];
const WHOLE = [0, 1, 2, 3, 4, 5].flatMap((power) => [1, 2, 5].map((one) => one * 10 ** power));
const MOST_BARS = 100;
const MOST_LINES = 5;

// One bar for each run, or for each interval of time where there are many runs.
function intervals(chosen) {
  const inOrder = chosen.slice().sort((a, b) => runs.started[a] - runs.started[b]);
  if (inOrder.length <= MOST_BARS) {
    return inOrder.map((run) => ({ label: moment(runs.started[run]).slice(5, 10), name: `${moment(runs.started[run])} · ${runLine(run)}`, runs: [run] }));
  }
  const span = runs.started[inOrder.at(-1)] - runs.started[inOrder[0]];
  const width = WIDTHS.find((candidate) => span / candidate <= MOST_BARS) ?? WIDTHS.at(-1);
  const shift = new Date().getTimezoneOffset() * 60_000;
  const found = new Map();
  for (const run of inOrder) {
    const place = Math.floor((runs.started[run] - shift) / width);
    if (!found.has(place)) found.set(place, []);
    found.get(place).push(run);
  }
  const [first, last] = [Math.min(...found.keys()), Math.max(...found.keys())];
  return Array.from({ length: last - first + 1 }, (_, index) => {
    const start = (first + index) * width + shift;
    const name = width < 24 * HOUR ? moment(start) : day(new Date(start)) + (width > 24 * HOUR ? ` and ${width / 24 / HOUR - 1} days after` : "");
    return { label: name.slice(5, 10), name, runs: found.get(first + index) ?? [] };
  });
}

// A flaky test passed in the end: it is taken from those that did at once, so that a bar is as high as its tests.
const PARTS = {
  failed: (run) => runs.failed[run],
  broken: (run) => runs.broken[run],
  flaky: (run) => runs.flaky[run],
  skipped: (run) => runs.skipped[run],
  passed: (run) => runs.passed[run] - runs.flaky[run],
};

function drawOutcomes(places) {
  const all = places.map((place) => Object.fromEntries(Object.entries(PARTS).map(([name, of]) => [name, sum(place.runs.map(of))])));
  const rate = (counts) => percent(counts.passed + counts.flaky, counts.passed + counts.flaky + counts.failed + counts.broken);
  const say = (index) => {
    const { runs: those, name } = places[index];
    if (!those.length) return `${name}: no runs`;
    const parts = Object.entries(all[index]).filter(([, number]) => number).map(([status, number]) => `${count(number)} ${status}`);
    return `${name}: ${those.length > 1 ? `${plural(those.length, "run")}, ` : ""}${parts.join(", ") || "no tests"}; pass rate ${rate(all[index])}`;
  };
  const whole = Object.fromEntries(Object.keys(PARTS).map((name) => [name, sum(all.map((counts) => counts[name]))]));
  const bad = whole.failed + whole.broken + whole.flaky;
  // what passed would dwarf what did not
  const hidden = bad && bad < (whole.passed + whole.skipped) / 5 ? ["skipped", "passed"] : [];
  chart(byId("outcome-trend"), {
    title: "Outcomes", labels: places.map((place) => place.label), format: count, steps: WHOLE, say, hidden,
    hint: `${plural(sum(places.map((place) => place.runs.length)), "run")}, pass rate ${rate(whole)}`,
    series: Object.keys(PARTS).map((name) => ({ name, color: name, kind: "bars", values: all.map((counts) => counts[name]) })),
  });
}

function drawDurations(places) {
  const whole = (place) => place.runs.filter((run) => !runs.partial[run]);
  const usual = new Map();
  for (const place of places) for (const run of whole(place)) usual.set(runs.variant[run], (usual.get(runs.variant[run]) ?? 0) + 1);
  const variants = [...usual.keys()].sort((a, b) => usual.get(b) - usual.get(a)).slice(0, MOST_LINES);
  const medians = variants.map((variant) => places.map((place) =>
    quantile(whole(place).filter((run) => runs.variant[run] === variant).map((run) => runs.duration[run]), 0.5)));
  chart(byId("duration-trend"), {
    title: "Duration of whole runs", labels: places.map((place) => place.label), format: mark, steps: STEPS,
    hint: "Medians, a line for each variant; partial runs do not count",
    say: (index) => `${places[index].name}: ` + (variants.map((variant, line) => [variant, medians[line][index]])
      .filter(([, value]) => value !== null).map(([variant, value]) => `${variant || "all"} ${seconds(value)}`).join(", ") || "no whole run"),
    series: variants.map((variant, line) => ({
      name: variant || "duration", color: `series-${line}`, kind: "line", values: medians[line], dash: line ? [6 - line, 3] : undefined,
    })),
  });
}

function drawDistribution() {
  const bounds = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000];
  const bins = bounds.map(() => ({ tests: 0, time: 0 })).concat({ tests: 0, time: 0 });
  const timed = tests.all.filter((test) => tests.median[test] !== null);
  for (const test of timed) {
    const found = bounds.findIndex((bound) => tests.median[test] < bound);
    const bin = bins[found < 0 ? bounds.length : found];
    bin.tests += 1;
    bin.time += tests.total[test];
  }
  const used = bins.map((bin, index) => (bin.tests ? index : -1)).filter((index) => index >= 0);
  const [first, last] = used.length ? [used[0], used.at(-1)] : [0, 0];
  const shown = bins.slice(first, last + 1);
  const time = sum(bins.map((bin) => bin.time));
  const label = (index) => (index < bounds.length ? `< ${mark(bounds[index])}` : "more");
  chart(byId("distribution"), {
    title: "How long tests take", labels: shown.map((_, index) => label(first + index)), format: (value) => `${value} %`, beside: true,
    hint: "Tests by their median of setup, call and teardown: share of the tests, and of the time they take in all",
    say: (index) => `${label(first + index)}: ${plural(shown[index].tests, "test")} (${percent(shown[index].tests, timed.length)}), `
      + `${seconds(shown[index].time)} in all (${percent(shown[index].time, time)})`,
    series: [
      { name: "of tests", color: "series-0", kind: "bars", values: shown.map((bin) => (100 * bin.tests) / (timed.length || 1)) },
      { name: "of time", color: "series-1", kind: "bars", values: shown.map((bin) => (100 * bin.time) / (time || 1)) },
    ],
  });
}

function drawTrends(chosen) {
  const places = intervals(chosen);
  drawOutcomes(places);
  drawDurations(places);
}

// --- the ten slowest and the ten flakiest

function ranking(place, { title, below, rows, share, figures, all, none }) {
  const items = rows.map((test) => make("li", { class: "item" }, testLink(test), make("span", { class: "figures" }, figures(test)),
    make("span", { class: "track" }, make("i", { style: { width: `${100 * share(test)}%` } }))));
  place.replaceChildren(
    make("figcaption", {}, title, all && rows.length ? make("span", { class: "legend" }, button("All of them", all)) : ""),
    make("p", { class: "soft" }, below), items.length ? make("ol", { class: "ranking" }, items) : make("p", { class: "empty" }, none));
}

function drawRankings() {
  const slow = tests.all.filter((test) => tests.median[test] > 0).sort((a, b) => tests.median[b] - tests.median[a] || a - b).slice(0, 10);
  const time = sum(tests.total);
  ranking(byId("slowest"), {
    title: "Slowest tests", below: "Median and 95th percentile of setup, call and teardown, share of all time", rows: slow, none: "Nothing was timed.",
    share: (test) => tests.median[test] / tests.median[slow[0]],
    figures: (test) => `${seconds(tests.median[test])} · ${seconds(tests.p95[test])} · ${percent(tests.total[test], time)}`,
    all: () => showTests({ sort: "median" }),
  });
  const flaky = tests.all.filter((test) => tests.flaky[test]).sort((a, b) => flakiness(b) - flakiness(a) || a - b);
  ranking(byId("flakiest"), {
    title: "Flakiest tests", below: "Passed after an attempt that did not, or both ways on one commit and variant", rows: flaky.slice(0, 10), none: "No test was flaky.",
    share: flakiness, figures: (test) => `${percent(tests.flaky[test], tests.runs[test])} · ${count(tests.flaky[test])} of ${plural(tests.runs[test], "run")}`,
    all: () => showTests({ filter: "flaky", sort: "flaky" }),
  });
  byId("flakiest").style.setProperty("--c", "var(--flaky)");
}

const flakiness = (test) => tests.flaky[test] / tests.runs[test];
