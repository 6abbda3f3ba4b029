// Failures, grouped by what they say.

const GROUPS_SHOWN = 12;
const FAILURES_SHOWN = 10;

function failureLine(failure) {
  const run = failures.run[failure];
  const trace = traceLink(failures.trace[failure]);
  const job = link(failures.ci_url[failure], "CI job");
  const stack = failures.stack[failure];
  return make("div", { class: "failure" },
    testLink(failures.test[failure]),
    facts([
      ["", verdict(failures.outcome[failure])],
      ["in", failures.phase[failure]],
      ["attempt", failures.attempt[failure] > 1 ? failures.attempt[failure] : ""],
      ["at", moment(failures.at[failure])],
      ["run", run === null ? "" : runLine(run)],
      ["worker", failures.worker[failure]],
    ]),
    make("pre", { class: "message", tabindex: "0" }, failures.message[failure] || "(no message)"),
    stack && make("details", { class: "inner" }, make("summary", {}, "Stack trace"), make("pre", { tabindex: "0" }, stack)),
    (trace || job) && make("div", { class: "links" }, trace, job));
}

function inSteps(place, rows, step, draw, noun) {
  let shown = 0;
  const rest = button("", () => add(), { class: "rest" });
  const list = make("div");
  function add() {
    const next = rows.slice(shown, shown + step);
    list.append(...next.map(draw));
    shown += next.length;
    rest.hidden = shown >= rows.length;
    rest.textContent = `Show ${Math.min(step, rows.length - shown)} more of ${plural(rows.length, noun)}`;
  }
  place.replaceChildren(list, rest);
  add();
}

function groupLine(group) {
  const own = failures.all.filter((failure) => failures.group[failure] === group);
  const named = [...new Set(own.map((failure) => failures.test[failure]))];
  const inside = make("div", { class: "inside" });
  const details = make("details", { class: "group" },
    make("summary", {},
      make("span", {}, groups.type[group] && make("span", { class: "type" }, `${groups.type[group]} `),
        make("span", { class: "text" }, groups.text[group] || "(no message)"),
        named.length ? make("span", { class: "in" }, testName(tests.nodeid[named[0]]), groups.tests[group] > 1 ? ` and ${count(groups.tests[group] - 1)} more` : "") : ""),
      make("span", { class: "figures" }, make("b", {}, plural(groups.tests[group], "test")),
        ` · ${plural(groups.attempts[group], "attempt")} · ${plural(groups.runs[group], "run")}`, make("br"),
        groups.first[group] === groups.last[group] ? moment(groups.last[group]) : `${moment(groups.first[group])} to ${moment(groups.last[group])}`)),
    inside);
  details.addEventListener("toggle", () => {
    if (!details.open || inside.hasChildNodes()) return;
    if (own.length) inSteps(inside, own, FAILURES_SHOWN, failureLine, "failing test");
    else inside.append(make("p", { class: "soft" }, "Examples of this error are not in the file: it has the commonest errors only."));
  });
  return details;
}

function drawErrors() {
  const named = new Map(groups.all.map((group) => [group, []]));
  for (const failure of failures.all) named.get(failures.group[failure])?.push(tests.nodeid[failures.test[failure]]);
  const found = search("Search errors and tests", groups.all,
    (group) => `${groups.type[group]} ${groups.text[group]} ${named.get(group).join(" ")}`, draw);
  byId("error-controls").replaceChildren(found.field);
  function draw() {
    const kept = groups.all.filter(found.keep());
    if (kept.length) inSteps(byId("error-groups"), kept, GROUPS_SHOWN, groupLine, "error");
    else byId("error-groups").replaceChildren(make("p", { class: "card empty" }, groups.size ? "No error has these words." : "Nothing failed."));
  }
  draw();
}
