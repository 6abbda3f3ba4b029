// The page: what is told first, which sections there are, theme and keys.

const SECTIONS = [
  ["trends", "Trends", () => runs.size],
  ["hurting", "", () => tests.size],
  ["errors", "Errors", () => tests.size],
  ["timeline", "Timeline", () => timelines.length],
  ["tests", "Tests", () => tests.size],
  ["runs", "Runs", () => runs.size],
];

function tile([name, value, below, bad]) {
  return make("div", { class: bad ? "tile bad" : "tile" }, make("dt", {}, name), make("dd", {}, make("div", { class: "value" }, value), make("div", { class: "below" }, below)));
}

function tilesOfRun(run) {
  const good = runs.passed[run];
  const bad = runs.failed[run] + runs.broken[run];
  const changed = (change) => tests.change.filter((one) => one === change).length;
  return [
    ["Result", runs.status[run], runs.partial[run] ? "part of the suite" : "the whole suite", bad > 0],
    ["Passed", percent(good, good + bad), `${count(good)} of ${count(good + bad)}`],
    ["Failed or broken", count(bad), `${count(changed("failing"))} new, ${count(changed("fixed"))} fixed`, bad > 0],
    ["Flaky", count(runs.flaky[run]), `${plural(runs.reruns[run], "repetition")}`],
    ["Skipped", count(runs.skipped[run]), runs.not_run[run] ? `${count(runs.not_run[run])} never ran` : "all others ran"],
    ["Duration", seconds(runs.duration[run]), plural(Math.max(1, runs.workers[run]), "worker")],
  ];
}

function tilesOfSpan() {
  const good = sum(runs.passed);
  const bad = sum(runs.failed) + sum(runs.broken);
  const failing = tests.all.filter((test) => tests.failing[test]).length;
  const flaky = tests.all.filter((test) => tests.flaky[test]).length;
  const whole = runs.all.filter((run) => !runs.partial[run]).map((run) => runs.duration[run]);
  return [
    ["Runs", count(runs.size), `${count(runs.all.filter((run) => runs.status[run] === "success").length)} without a failure`],
    ["Tests", count(tests.size), `${count(good + bad + sum(runs.skipped))} results`],
    ["Passed", percent(good, good + bad), `${count(bad)} did not`],
    ["Failing now", count(failing), "by the last run of a branch and variant", failing > 0],
    ["Flaky", count(flaky), `${percent(flaky, tests.size)} of the tests`],
    ["Duration of a run", seconds(quantile(whole, 0.5)), `90 % within ${seconds(quantile(whole, 0.9))}`],
  ];
}

function drawHead() {
  const { run } = about;
  const subtitle = run === null
    ? `${moment(about.begin)} to ${moment(about.end)}`
    : `${moment(runs.started[run])} · ${runLine(run)} · ${runs.id[run]}`;
  const links = run === null ? [] : [link(runs.ci_url[run], "CI job"), traceLink(runs.trace[run])].filter(Boolean);
  byId("subtitle").replaceChildren(subtitle, ...about.filters.map((filter) => ` · ${filter}`), ...links.flatMap((one) => [" · ", one]));
  byId("notes").replaceChildren(...about.notes.map((note) => make("p", { class: "note" }, note)));
  byId("tiles").replaceChildren(...(run === null ? tilesOfSpan() : tilesOfRun(run)).map(tile));
  byId("footer").replaceChildren(`Made ${moment(about.made)} by pytest-test-observer ${about.version} from ${about.source}. Times are those of this browser's time zone.`);
}

// Of one run its failures and its course come first; over time, the trends.
const ORDER_OF_RUN = ["errors", "timeline", "trends", "hurting", "tests", "runs"];

function drawSections() {
  const inOrder = about.run === null ? SECTIONS : ORDER_OF_RUN.map((id) => SECTIONS.find(([name]) => name === id));
  for (const [id] of inOrder) byId("main").insertBefore(byId(id), byId("footer"));
  const shown = inOrder.filter(([, , has]) => has());
  for (const [id] of shown) byId(id).hidden = false;
  for (const [id] of SECTIONS) byId(`${id}-heading`)?.setAttribute("tabindex", "-1");
  byId("sections").replaceChildren(...shown.filter(([, words]) => words).map(([id, words]) => make("a", { href: `#${id}` }, words)));
}

// --- theme: as the system says, or light, or dark; remembered where the browser lets a file remember

const THEMES = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" };

function remembered(value) {
  try {
    if (value) localStorage.setItem("pytest-observer-theme", value);
    return localStorage.getItem("pytest-observer-theme");
  } catch {
    return null;
  }
}

function useTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = THEMES[theme];
  byId("theme").dataset.now = theme;
}

function redraw() {
  redrawCharts();
  waterfall?.draw();
}

function drawTheme() {
  const known = remembered();
  useTheme(known in THEMES ? known : "auto");
  byId("theme").addEventListener("click", () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(byId("theme").dataset.now) + 1) % names.length];
    remembered(next);
    useTheme(next);
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (!testSearch) return;
  event.preventDefault();
  byId("tests").scrollIntoView();
  testSearch.field.focus({ preventScroll: true });
});

drawTheme();
drawHead();
drawSections();
if (runs.size) drawRuns();
if (tests.size) {
  drawDistribution();
  drawRankings();
  drawErrors();
  drawTests();
}
if (timelines.length) drawTimelines();
document.documentElement.dataset.ready = "";
