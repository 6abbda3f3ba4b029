// The table of all tests: search, filters, what is known of each.

const CHANGES = { failing: "New failures", fixed: "Fixed", slower: "Slower", added: "New tests" };
const FILTERS = [
  ["all", "All", () => true],
  ["failing", "Failing", (test) => tests.failing[test] !== ""],
  ["flaky", "Flaky", (test) => tests.flaky[test] > 0],
  ["skipped", "Skipped last", (test) => STATUS_OF[tests.last[test]] === "skipped"],
  ...Object.entries(CHANGES).map(([change, words]) => [`change-${change}`, words, (test) => tests.change[test] === change]),
];

let testList = null;
let testSearch = null;
let testFilter = "all";
let testService = "";

const failed = (test) => tests.failed[test] + tests.broken[test];
const passRate = (test) => tests.passed[test] / (tests.passed[test] + failed(test) || NaN);

function testDetails(test) {
  const own = failures.all.filter((failure) => failures.test[failure] === test);
  const slots = timelines.filter((timeline) => timeline.test.includes(test));
  return [
    facts([
      ["Test", isLong(tests.nodeid[test]) ? tests.nodeid[test] : ""],
      ["Service", tests.service[test]],
      ["Repository", tests.repository[test]],
      ["Runs", `${count(tests.runs[test])}: ${STATUSES.filter((s) => tests[s][test]).map((s) => `${count(tests[s][test])} ${s}`).join(", ")}`],
      ["Fails now on", tests.failing[test]],
      ["Last run", moment(tests.last_at[test])],
      ["Flaky since", tests.flaky[test] ? moment(tests.flaky_since[test]) : ""],
      ["Flaky last", tests.flaky[test] ? moment(tests.flaky_last[test]) : ""],
    ]),
    slots.length ? make("div", { class: "links" }, slots.map((timeline) =>
      button(`In the timeline of ${[runName(timeline.run), runs.variant[timeline.run]].filter(Boolean).join(" · ")}`, () => showInTimeline(timeline, test)))) : null,
    own.length ? own.slice(0, 3).map(failureLine) : null,
  ].flat();
}

const TEST_COLUMNS = [
  { name: "nodeid", title: "Test", value: (test) => tests.nodeid[test], cell: (test) => button(testName(tests.nodeid[test]), () => {}, { class: "plain" }) },
  { name: "last", title: "Last", value: (test) => tests.last[test], cell: (test) => verdict(tests.last[test]) },
  { name: "history", title: "Last runs", double: true, cell: (test) => strip(tests.history[test]) },
  { name: "runs", title: "Runs", number: true, value: (test) => tests.runs[test], cell: (test) => count(tests.runs[test]) },
  { name: "rate", title: "Passed", number: true, value: (test) => -(passRate(test) ?? 0) || 0, cell: (test) => percent(tests.passed[test], tests.passed[test] + failed(test)) },
  { name: "flaky", title: "Flaky", number: true, value: flakiness, cell: (test) => (tests.flaky[test] ? percent(tests.flaky[test], tests.runs[test]) : "–") },
  { name: "median", title: "Median", number: true, value: (test) => tests.median[test] ?? -1, cell: (test) => seconds(tests.median[test]) },
  { name: "p95", title: "95 %", number: true, value: (test) => tests.p95[test] ?? -1, cell: (test) => seconds(tests.p95[test]) },
  { name: "total", title: "In all", number: true, value: (test) => tests.total[test], cell: (test) => seconds(tests.total[test]) },
];

function drawTests() {
  testSearch = search("Search tests  ( / )", tests.all, (test) => `${tests.nodeid[test]} ${tests.service[test]}`, filterTests);
  testSearch.field.id = "test-search";
  const services = [...new Set(tests.service)].sort();
  byId("test-controls").replaceChildren(testSearch.field,
    services.length > 1 ? choice("Service", [["", "All services"], ...services.map((name) => [name, name || "(none)"])], (value) => {
      testService = value;
      filterTests();
    }) : "");
  testList = listing(byId("test-table"), {
    columns: TEST_COLUMNS, more: testDetails, sorted: { name: "median", descending: true }, noun: "test",
    empty: tests.size ? "No test is like this: change the words or the filter." : "There are no results here.",
  });
  filterTests();
}

function filterTests() {
  const keep = testSearch.keep();
  const kept = tests.all.filter((test) => keep(test) && (!testService || tests.service[test] === testService));
  const [, , fits] = FILTERS.find(([name]) => name === testFilter);
  const chips = FILTERS.map(([name, words, is]) => [name, words, kept.filter(is).length])
    .filter(([name, , number]) => number || !name.startsWith("change-") || name === testFilter);
  byId("test-filters").replaceChildren(...chips.map(([name, words, number]) => button(
    [words, make("span", { class: "count" }, count(number))],
    () => { testFilter = name; filterTests(); byId("test-filters").querySelector("[aria-pressed=true]").focus(); },
    { "aria-pressed": String(name === testFilter), "data-filter": name })));
  testList.show(kept.filter(fits));
}

// Show the table as somebody elsewhere on the page asks for it.
function showTests({ filter = "all", sort }) {
  testFilter = filter;
  testService = "";
  testSearch.field.value = "";
  filterTests();
  if (sort) testList.sort(sort, true);
  byId("tests").scrollIntoView();
  byId("tests-heading").focus({ preventScroll: true });
}

function showTest(test) {
  showTests({});
  testList.open(test);
}
