// Runs: the table, and the filters that it shares with the trends.

const RUN_STATUS = { success: "passed", failure: "failed", aborted: "broken", skipped: "skipped" };

const RUN_COLUMNS = [
  { name: "started", title: "Started", value: (run) => runs.started[run], cell: (run) => make("span", {}, moment(runs.started[run]), make("span", { class: "soft" }, runs.partial[run] ? " partial" : "", sessionsOf(run) && ` ${sessionsOf(run)}`)) },
  { name: "status", title: "Result", value: (run) => runs.status[run], cell: (run) => sign(RUN_STATUS[runs.status[run]] ?? "broken", runs.status[run]) },
  { name: "run", title: "Run", value: (run) => runName(run), cell: (run) => make("span", { title: runs.id[run] }, link(runs.ci_url[run], runName(run)) ?? runName(run)) },
  { name: "branch", title: "Branch", value: (run) => runs.branch[run], cell: (run) => make("span", {}, runs.branch[run], " ", make("span", { class: "soft mono" }, commit(run))) },
  { name: "variant", title: "Variant", value: (run) => runs.variant[run], cell: (run) => runs.variant[run] },
  ...["passed", "failed", "broken", "skipped", "flaky"].map((status) => ({
    name: status, title: status[0].toUpperCase() + status.slice(1), number: true, value: (run) => runs[status][run],
    cell: (run) => (runs[status][run] ? count(runs[status][run]) : make("span", { class: "soft" }, "–")),
  })),
  { name: "duration", title: "Duration", number: true, value: (run) => runs.duration[run], cell: (run) => seconds(runs.duration[run]) },
  { name: "trace", title: "Trace", cell: (run) => traceLink(runs.trace[run]) ?? "" },
];

function drawRuns() {
  const chosen = {};
  const list = listing(byId("run-table"), {
    columns: RUN_COLUMNS.filter(({ name }) => name !== "trace" || about.trace_url), sorted: { name: "started", descending: true },
    noun: "run", empty: "No run is like this.",
  });
  const draw = () => {
    const kept = runs.all.filter((run) => Object.entries(chosen).every(([name, value]) => value === "" || runs[name][run] === value));
    list.show(kept);
    if (kept.length) drawTrends(kept);
  };
  const filters = [["service", "All services"], ["branch", "All branches"], ["variant", "All variants"]].map(([name, every]) => {
    const values = [...new Set(runs[name])].sort();
    if (values.length < 2) return "";
    // an empty value is one that runs have, not the absence of a choice
    return choice(name, [["*", every], ...values.map((value) => [`=${value}`, value || "(none)"])], (value) => {
      if (value === "*") delete chosen[name];
      else chosen[name] = value.slice(1);
      draw();
    });
  });
  byId("run-filters").replaceChildren(...filters.filter(Boolean));
  draw();
}
