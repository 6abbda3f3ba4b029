"""The SQL that multiplies a plan of ``tests.history`` out to rows; behind ``$`` the names of tables."""

# Columns and order of the tables that hold the plan.
HELPERS = {
    "runs": (
        (
            "run UInt32, pipeline UInt32, run_id String, branch String, commit String, variant String, partial Bool, "
            "started_at UInt64, provider String, ci_run_id String, ci_attempt UInt16, ci_url String, workers UInt16, "
            "collected UInt32, passed UInt32, failed UInt32, broken UInt32, skipped UInt32, flaky UInt32, "
            "reruns UInt32, service String, repository String, status String, exit_status Int16"
        ),
        "run",
    ),
    "tests": (
        (
            "test UInt32, nodeid String, file String, line UInt32, seconds Float64, status String, outcome String, "
            "first UInt32, last UInt32"
        ),
        "test",
    ),
    "exceptions": (
        "run UInt32, test UInt32, factor Float64, attempts Array(Tuple(String, String, String, String, String))",
        "(run, test)",
    ),
}

# The fourth worker has little to do and idles; the long pole is the last test of the first.
WORKER = """multiIf(workers = 0, 'master', test.nodeid = {long_pole:String}, 'gw0',
    seconds >= 10, 'gw1', test.test % 4 < 3, concat('gw', toString(test.test % 4)), test.test < tests_in_all / 4, 'gw3',
    concat('gw', toString(test.test % 3)))"""
CONTEXT = """ci_provider, ci_run_id, git_commit, git_branch, service, repository, variant, ci_job, ci_attempt, ci_url,
    change_id"""

RESULTS = """
INSERT INTO $to_results (
    run_id, timestamp, started_at, finished_at, nodeid, status, when_phase, duration, markers, worker_id, outcome,
    attempt, flaky, trace_id, span_id, parent_span_id, file, line, function, setup_duration, call_duration,
    teardown_duration, error_type, error_message, error_stacktrace, $context
)
WITH (SELECT count() FROM $tests) AS tests_in_all
SELECT
    run_id, fromUnixTimestamp64Milli(toInt64(finished)) AS timestamp, started, finished, nodeid, status, when_phase,
    if(when_phase = 'call', call_s, setup_s) AS duration,
    if(number % 50 = 1, ['slow'], []) AS markers, worker, outcome, attempt, status = 'passed' AND attempt > 1 AS flaky,
    lower(hex(MD5(run_id))) AS trace_id, lower(hex(sipHash64(run_id, nodeid, attempt))) AS span_id,
    lower(hex(sipHash64(run_id))) AS parent_span_id, file, line,
    splitByChar('[', splitByString('::', nodeid)[-1])[1] AS function,
    setup_s AS setup_duration, call_s AS call_duration, 0.001 AS teardown_duration,
    error_type, error_message,
    if(error_type = '', '', concat(file, ':', toString(line), ': ', error_message)) AS error_stacktrace,
    provider AS ci_provider, ci_run_id, commit AS git_commit, branch AS git_branch, service, repository, variant,
    if(provider = 'local', '', 'test') AS ci_job, ci_attempt, ci_url, '' AS change_id
FROM (
    SELECT *, run_started_at + 100 + intDiv(sum(total_us) OVER (
        PARTITION BY run, worker ORDER BY is_long_pole, number, attempt ROWS UNBOUNDED PRECEDING), 1000) AS finished,
        finished - intDiv(total_us, 1000) AS started
    FROM (
        SELECT
            run.run AS run, run_id, branch, commit, variant, provider, ci_run_id, ci_attempt, ci_url, service,
            repository, run.started_at AS run_started_at, test.test AS number, nodeid, file, line,
            $worker AS worker, nodeid = {long_pole:String} AS is_long_pole,
            if(empty(exception.attempts), [(test.status, test.outcome, if(test.outcome = 'skipped', 'setup', 'call'),
                '', multiIf(test.outcome = 'skipped', 'not before December', test.outcome = 'xfailed', 'a known bug',
                ''))], exception.attempts) AS all_attempts,
            arrayJoin(arrayZip(all_attempts, arrayEnumerate(all_attempts))) AS numbered,
            numbered.1.1 AS status, numbered.1.2 AS outcome, numbered.1.3 AS when_phase, numbered.1.4 AS error_type,
            numbered.1.5 AS error_message, numbered.2 AS attempt,
            if(when_phase = 'call', seconds * if(exception.factor = 0, 1, exception.factor)
                * (1 + (toInt32((run.run * 7 + test.test * 13) % 11) - 5) / 100), 0) AS call_s,
            0.002 AS setup_s,
            toUInt64(round((call_s + 0.003) * 1000000)) AS total_us
        FROM $runs AS run CROSS JOIN $tests AS test
        LEFT JOIN $exceptions AS exception ON exception.run = run.run AND exception.test = test.test
        WHERE run.run >= {begin:UInt32} AND run.run < {end:UInt32}
            AND pipeline >= first AND pipeline <= last AND NOT (partial AND test.test % 10 != 0)
    )
)
"""

RUNS = """
INSERT INTO $to_runs (
    run_id, timestamp, started_at, finished_at, duration, status, exit_status, collected, partial, passed, failed,
    broken, skipped, flaky, reruns, workers, trace_id, span_id, $context
)
SELECT
    run_id, fromUnixTimestamp64Milli(toInt64(ended)) AS timestamp, started_at, ended AS finished_at,
    (ended - started_at) / 1000 AS duration, status, exit_status, collected, partial, passed, failed, broken, skipped,
    flaky, reruns, workers, lower(hex(MD5(run_id))) AS trace_id, lower(hex(sipHash64(run_id))) AS span_id,
    provider AS ci_provider, ci_run_id, commit AS git_commit, branch AS git_branch, service, repository, variant,
    if(provider = 'local', '', 'test') AS ci_job, ci_attempt, ci_url, '' AS change_id
FROM $runs AS run
JOIN (
    SELECT run_id, max(finished_at) + 50 AS ended FROM $to_results
    WHERE run_id IN (SELECT run_id FROM $runs WHERE run >= {begin:UInt32} AND run < {end:UInt32})
    GROUP BY run_id
) AS result USING run_id
"""

# Two events in each attempt of the tests that are marked slow.
EVENTS = """
INSERT INTO $to_events (run_id, nodeid, timestamp, seq, event_name, payload, attempt, trace_id, span_id)
SELECT run_id, nodeid, fromUnixTimestamp64Milli(toInt64(started_at + seq)) AS timestamp, seq,
    ['cart.filled', 'payment.requested'][seq + 1] AS event_name, map('cents', toString(100 + line)) AS payload, attempt,
    trace_id, span_id
FROM (
    SELECT *, arrayJoin([0, 1]) AS seq FROM $to_results
    WHERE has(markers, 'slow')
        AND run_id IN (SELECT run_id FROM $runs WHERE run >= {begin:UInt32} AND run < {end:UInt32})
)
"""
