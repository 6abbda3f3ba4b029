// The data of the file: tables of columns of equal length. Texts that repeat stand in `strings` once, and columns
// have their numbers; `texts` names these columns.
const data = JSON.parse(document.getElementById("data").textContent);

function table({ columns, texts }) {
  for (const name of texts) columns[name] = columns[name].map((number) => data.strings[number]);
  const [first] = Object.values(columns);
  return { ...columns, size: first.length, all: Array.from(first, (_, row) => row) };
}

const about = data.about;
const runs = table(data.runs);
const tests = table(data.tests);
const groups = table(data.groups);
const failures = table(data.failures);
const timelines = data.timelines.map((found) => ({ run: found.run, ...table(found) }));

// A status is told by a sign and a word; its colour is the third, not the only one.
const SIGNS = { passed: "✓", failed: "✕", broken: "!", skipped: "–", flaky: "~" };
const STATUSES = Object.keys(SIGNS);
const STATUS_OF = {
  passed: "passed", xpassed: "passed", failed: "failed", error: "broken", crashed: "broken",
  skipped: "skipped", xfailed: "skipped", rerun: "flaky",
};
const WORDS = { error: "broken", rerun: "failed, repeated", xfailed: "failed as expected", xpassed: "passed unexpectedly" };
const LETTERS = { p: "passed", f: "failed", b: "broken", s: "skipped", y: "flaky" };
const isBad = (status) => status === "failed" || status === "broken";

const sum = (values) => values.reduce((total, value) => total + value, 0);
const quantile = (values, share) => {
  const sorted = values.slice().sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : null;
};

// --- how numbers are written

const count = (number) => number.toLocaleString("en");
const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

function percent(part, whole) {
  if (!whole) return "–";
  const share = (100 * part) / whole;
  // what is not all must not look like all
  if (share > 99.9 && share < 100) return "99.9 %";
  if (share > 0 && share < 0.1) return "< 0.1 %";
  return `${share.toFixed(share === 100 || share === 0 ? 0 : 1)} %`;
}

function seconds(value) {
  if (value === null) return "–";
  if (value === 0) return "0 s";
  if (value < 0.0095) return `${(value * 1000).toFixed(1)} ms`;
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  if (value < 59.95) return `${value.toFixed(value < 9.995 ? 2 : 1)} s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${String(whole % 60).padStart(2, "0")} s`;
  return `${count(Math.floor(whole / 3600))} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} m`;
}

// A mark of an axis: without the noughts that a measured value has.
const mark = (value) => seconds(value).replace(/\.0+(?= )|(?<=\.\d)0(?= )| 00 s$/, "");

const two = (number) => String(number).padStart(2, "0");
const day = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
const moment = (ms) => {
  const at = new Date(ms);
  return `${day(at)} ${two(at.getHours())}:${two(at.getMinutes())}`;
};

// --- what a run is called

// An attempt of 0 is one that the CI system does not number.
const runName = (run) => (runs.ci[run] || runs.id[run].slice(0, 8)) + (runs.ci_attempt[run] > 1 ? ` attempt ${runs.ci_attempt[run]}` : "");
const sessionsOf = (run) => (runs.sessions[run] > 1 ? plural(runs.sessions[run], "session") : "");
const commit = (run) => runs.commit[run].slice(0, 10);
const runLine = (run) =>
  [runName(run), runs.branch[run], commit(run), runs.variant[run], sessionsOf(run)].filter(Boolean).join(" · ");
