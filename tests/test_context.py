"""Which CI system runs us and what it tells, from the variables that each documents."""

from __future__ import annotations

import os
import re
import string
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_test_observer._context import begin, default_variant, is_ci
from pytest_test_observer._context.ci import SYSTEMS, CISystem, detect_ci, uint16
from pytest_test_observer._record import Context

if TYPE_CHECKING:
    from pathlib import Path

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_RUN_ID": "77",
    "GITHUB_RUN_NUMBER": "5",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_SHA": "abc",
    "GITHUB_REF": "refs/pull/12/merge",
    "GITHUB_REF_NAME": "12/merge",
    "GITHUB_HEAD_REF": "feature",
    "GITHUB_JOB": "test",
    "GITHUB_WORKFLOW": "CI",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "org/repo",
}
GITHUB_CONTEXT = Context(
    run_id="run-1",
    ci_provider="github",
    ci_run_id="77",
    ci_job="test",
    ci_attempt=2,
    ci_url="https://github.com/org/repo/actions/runs/77",
    git_commit="abc",
    git_branch="feature",
    change_id="12",
    repository="https://github.com/org/repo",
    service="repo",
    variant="v",
    resource={
        "cicd.pipeline.name": "CI",
        "cicd.pipeline.task.type": "test",
        "vcs.owner.name": "org",
        "vcs.provider.name": "github",
        "vcs.repository.name": "repo",
    },
)

# name, environment, (run id, commit, branch, job, attempt, url, change, repository)
Told = tuple[str, str, str, str, int, str, str, str]
CASES: dict[str, tuple[dict[str, str], Told]] = {
    "github": (
        GITHUB,
        (
            "77",
            "abc",
            "feature",
            "test",
            2,
            "https://github.com/org/repo/actions/runs/77",
            "12",
            "https://github.com/org/repo",
        ),
    ),
    "gitea": (
        {**GITHUB, "GITEA_ACTIONS": "true", "GITHUB_SERVER_URL": "https://git.example"},
        (
            "77",
            "abc",
            "feature",
            "test",
            2,
            "https://git.example/org/repo/actions/runs/5",
            "12",
            "https://git.example/org/repo",
        ),
    ),
    "forgejo": (
        {**GITHUB, "GITEA_ACTIONS": "true", "FORGEJO_ACTIONS": "true", "GITHUB_HEAD_REF": ""},
        (
            "77",
            "abc",
            "12/merge",
            "test",
            2,
            "https://github.com/org/repo/actions/runs/5",
            "12",
            "https://github.com/org/repo",
        ),
    ),
    "gitlab": (
        {
            "GITLAB_CI": "true",
            "CI_PIPELINE_ID": "9",
            "CI_COMMIT_SHA": "c",
            "CI_COMMIT_REF_NAME": "b",
            "CI_JOB_NAME": "unit 1/2",
            "CI_PIPELINE_URL": "https://gitlab.com/g/p/-/pipelines/9",
            "CI_MERGE_REQUEST_IID": "4",
            "CI_REPOSITORY_URL": "https://gitlab-ci-token:secret@gitlab.com/g/p.git",
        },
        (
            "9",
            "c",
            "b",
            "unit 1/2",
            0,
            "https://gitlab.com/g/p/-/pipelines/9",
            "4",
            "https://gitlab.com/g/p.git",
        ),
    ),
    "circle": (
        {
            "CIRCLECI": "true",
            "CIRCLE_BUILD_NUM": "3",
            "CIRCLE_SHA1": "c",
            "CIRCLE_BRANCH": "b",
            "CIRCLE_JOB": "j",
            "CIRCLE_BUILD_URL": "https://circleci.com/gh/o/r/3",
            "CIRCLE_PULL_REQUEST": "https://github.com/o/r/pull/12",
            "CIRCLE_REPOSITORY_URL": "git@github.com:o/r.git",
        },
        ("3", "c", "b", "j", 0, "https://circleci.com/gh/o/r/3", "12", "git@github.com:o/r.git"),
    ),
    "jenkins": (
        {
            "JENKINS_URL": "https://ci.example/",
            "BUILD_NUMBER": "8",
            "GIT_COMMIT": "c",
            "GIT_BRANCH": "origin/b",
            "JOB_NAME": "folder/job",
            "BUILD_URL": "https://ada:secret@ci.example/job/8/",
            "CHANGE_ID": "2",
            "GIT_URL": "https://secret@host/o/r.git",
        },
        ("8", "c", "origin/b", "folder/job", 0, "https://ci.example/job/8/", "2", "https://host/o/r.git"),
    ),
    "azure": (
        {
            "TF_BUILD": "True",
            "BUILD_BUILDID": "31",
            "BUILD_SOURCEVERSION": "merge",
            "SYSTEM_PULLREQUEST_SOURCECOMMITID": "c",
            "SYSTEM_PULLREQUEST_SOURCEBRANCH": "refs/heads/a/b",
            "SYSTEM_JOBDISPLAYNAME": "Test py3.12",
            "SYSTEM_JOBATTEMPT": "1",
            "SYSTEM_COLLECTIONURI": "https://dev.azure.com/org/",
            "SYSTEM_TEAMPROJECTID": "guid",
            "SYSTEM_PULLREQUEST_PULLREQUESTID": "6",
            "BUILD_REPOSITORY_URI": "https://org@dev.azure.com/org/p/_git/r",
        },
        (
            "31",
            "c",
            "a/b",
            "Test py3.12",
            1,
            "https://dev.azure.com/org/guid/_build/results?buildId=31",
            "6",
            "https://dev.azure.com/org/p/_git/r",
        ),
    ),
    "bitbucket": (
        {
            "BITBUCKET_BUILD_NUMBER": "5",
            "BITBUCKET_COMMIT": "c",
            "BITBUCKET_TAG": "v1",
            "BITBUCKET_STEP_RUN_NUMBER": "3",
            "BITBUCKET_REPO_FULL_NAME": "w/r",
            "BITBUCKET_PR_ID": "1",
            "BITBUCKET_GIT_HTTP_ORIGIN": "http://bitbucket.org/w/r",
        },
        (
            "5",
            "c",
            "v1",
            "",
            3,
            "https://bitbucket.org/w/r/pipelines/results/5",
            "1",
            "http://bitbucket.org/w/r",
        ),
    ),
    "buildkite": (
        {
            "BUILDKITE": "true",
            "BUILDKITE_BUILD_ID": "uuid",
            "BUILDKITE_COMMIT": "HEAD",
            "BUILDKITE_BRANCH": "b",
            "BUILDKITE_LABEL": "tests",
            "BUILDKITE_RETRY_COUNT": "0",
            "BUILDKITE_BUILD_URL": "https://buildkite.com/o/p/builds/1",
            "BUILDKITE_PULL_REQUEST": "false",
            "BUILDKITE_REPO": "git@github.com:o/r.git",
        },
        ("uuid", "", "b", "tests", 1, "https://buildkite.com/o/p/builds/1", "", "git@github.com:o/r.git"),
    ),
    "travis": (
        {
            "TRAVIS": "true",
            "TRAVIS_BUILD_ID": "1",
            "TRAVIS_COMMIT": "c",
            "TRAVIS_BRANCH": "b",
            "TRAVIS_JOB_NUMBER": "1.2",
            "TRAVIS_BUILD_WEB_URL": "https://app.travis-ci.com/github/o/r/builds/1",
            "TRAVIS_PULL_REQUEST": "12",
            "TRAVIS_REPO_SLUG": "o/r",
        },
        (
            "1",
            "c",
            "b",
            "1.2",
            0,
            "https://app.travis-ci.com/github/o/r/builds/1",
            "12",
            "https://github.com/o/r",
        ),
    ),
    "teamcity": (
        {
            "TEAMCITY_VERSION": "2024.1",
            "BUILD_NUMBER": "44",
            "BUILD_VCS_NUMBER": "c",
            "TEAMCITY_BUILDCONF_NAME": "Unit",
            "BUILD_URL": "https://tc.example/build/44",
        },
        ("44", "c", "", "Unit", 0, "https://tc.example/build/44", "", ""),
    ),
    "woodpecker": (
        {
            "CI": "woodpecker",
            "DRONE": "true",
            "CI_PIPELINE_NUMBER": "7",
            "CI_COMMIT_SHA": "c",
            "CI_COMMIT_BRANCH": "main",
            "CI_COMMIT_SOURCE_BRANCH": "b",
            "CI_STEP_NAME": "test",
            "CI_PIPELINE_URL": "https://ci.example/repos/1/pipeline/7",
            "CI_COMMIT_PULL_REQUEST": "3",
            "CI_REPO_URL": "https://git.example/o/r",
        },
        ("7", "c", "b", "test", 0, "https://ci.example/repos/1/pipeline/7", "3", "https://git.example/o/r"),
    ),
    "drone": (
        {
            "DRONE": "true",
            "CI": "true",
            "DRONE_BUILD_NUMBER": "7",
            "DRONE_COMMIT_SHA": "c",
            "DRONE_BRANCH": "b",
            "DRONE_STEP_NAME": "s",
            "DRONE_BUILD_LINK": "https://drone.example/o/r/7",
            "DRONE_PULL_REQUEST": "3",
            "DRONE_GIT_HTTP_URL": "https://github.com/o/r.git",
        },
        ("7", "c", "b", "s", 0, "https://drone.example/o/r/7", "3", "https://github.com/o/r.git"),
    ),
    "appveyor": (
        {
            "APPVEYOR": "True",
            "APPVEYOR_BUILD_ID": "10",
            "APPVEYOR_REPO_COMMIT": "c",
            "APPVEYOR_REPO_BRANCH": "b",
            "APPVEYOR_JOB_NAME": "j",
            "APPVEYOR_URL": "https://ci.appveyor.com",
            "APPVEYOR_ACCOUNT_NAME": "o",
            "APPVEYOR_PROJECT_SLUG": "r",
            "APPVEYOR_PULL_REQUEST_NUMBER": "4",
            "APPVEYOR_REPO_PROVIDER": "github",
            "APPVEYOR_REPO_NAME": "o/r",
        },
        (
            "10",
            "c",
            "b",
            "j",
            0,
            "https://ci.appveyor.com/project/o/r/builds/10",
            "4",
            "https://github.com/o/r",
        ),
    ),
    "semaphore": (
        {
            "SEMAPHORE": "true",
            "SEMAPHORE_WORKFLOW_ID": "w",
            "SEMAPHORE_GIT_SHA": "c",
            "SEMAPHORE_GIT_BRANCH": "b",
            "SEMAPHORE_JOB_NAME": "j",
            "SEMAPHORE_ORGANIZATION_URL": "https://o.semaphoreci.com",
            "SEMAPHORE_GIT_PR_NUMBER": "2",
            "SEMAPHORE_GIT_URL": "git@github.com:o/r.git",
        },
        ("w", "c", "b", "j", 0, "https://o.semaphoreci.com/workflows/w", "2", "git@github.com:o/r.git"),
    ),
    "cirrus": (
        {
            "CIRRUS_CI": "true",
            "CIRRUS_BUILD_ID": "6",
            "CIRRUS_CHANGE_IN_REPO": "c",
            "CIRRUS_BRANCH": "pull/3",
            "CIRRUS_TASK_NAME": "t",
            "CIRRUS_PR": "3",
            "CIRRUS_REPO_CLONE_URL": "https://github.com/o/r.git",
        },
        ("6", "c", "pull/3", "t", 0, "https://cirrus-ci.com/build/6", "3", "https://github.com/o/r.git"),
    ),
    "bitrise": (
        {
            "BITRISE_IO": "true",
            "BITRISE_BUILD_SLUG": "slug",
            "GIT_CLONE_COMMIT_HASH": "c",
            "BITRISE_GIT_BRANCH": "b",
            "BITRISE_TRIGGERED_WORKFLOW_ID": "primary",
            "BITRISE_BUILD_URL": "https://app.bitrise.io/build/slug",
            "BITRISE_PULL_REQUEST": "false",
            "GIT_REPOSITORY_URL": "git@github.com:o/r.git",
        },
        ("slug", "c", "b", "primary", 0, "https://app.bitrise.io/build/slug", "", "git@github.com:o/r.git"),
    ),
    "codefresh": (
        {
            "CF_BUILD_ID": "id",
            "CF_REVISION": "c",
            "CF_BRANCH": "b",
            "CF_STEP_NAME": "s",
            "CF_BUILD_URL": "https://g.codefresh.io/build/id",
            "CF_PULL_REQUEST_NUMBER": "5",
            "CF_COMMIT_URL": "https://github.com/o/r/commit/c",
        },
        ("id", "c", "b", "s", 0, "https://g.codefresh.io/build/id", "5", "https://github.com/o/r"),
    ),
    "buddy": (
        {
            "BUDDY": "true",
            "BUDDY_RUN_ID": "9",
            "BUDDY_RUN_COMMIT": "c",
            "BUDDY_RUN_BRANCH": "main",
            "BUDDY_RUN_PR_HEAD_BRANCH": "b",
            "BUDDY_PIPELINE_NAME": "p",
            "BUDDY_RUN_URL": "https://app.buddy.works/9",
            "BUDDY_RUN_PR_NO": "12",
            "BUDDY_REPO_SSH_URL": "git@github.com:o/r.git",
        },
        ("9", "c", "b", "p", 0, "https://app.buddy.works/9", "12", "git@github.com:o/r.git"),
    ),
    "bamboo": (
        {
            "bamboo_planKey": "BAM-MAIN",
            "bamboo_buildNumber": "8",
            "bamboo_planRepository_1_revision": "c",
            "bamboo_planRepository_1_branchName": "b",
            "bamboo_shortJobName": "j",
            "bamboo_buildResultsUrl": "https://bamboo.example/browse/BAM-MAIN-8",
            "bamboo_repository_pr_key": "3",
            "bamboo_planRepository_1_repositoryUrl": "ssh://git:secret@host/o/r.git",
        },
        (
            "BAM-MAIN-8",
            "c",
            "b",
            "j",
            0,
            "https://bamboo.example/browse/BAM-MAIN-8",
            "3",
            "ssh://git@host/o/r.git",
        ),
    ),
    "codebuild": (
        {
            "CODEBUILD_BUILD_ID": "proj:uuid",
            "CODEBUILD_RESOLVED_SOURCE_VERSION": "c",
            "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/b",
            "CODEBUILD_BUILD_URL": "https://console.example/build",
            "CODEBUILD_WEBHOOK_TRIGGER": "pr/21",
            "CODEBUILD_SOURCE_REPO_URL": "https://github.com/o/r.git",
        },
        (
            "proj:uuid",
            "c",
            "b",
            "proj",
            0,
            "https://console.example/build",
            "21",
            "https://github.com/o/r.git",
        ),
    ),
    "google-cloud-build": (
        {
            "BUILDER_OUTPUT": "/builder/outputs",
            "BUILD_ID": "id",
            "COMMIT_SHA": "c",
            "BRANCH_NAME": "b",
            "TRIGGER_NAME": "t",
            "LOCATION": "global",
            "PROJECT_ID": "p",
            "_PR_NUMBER": "2",
        },
        (
            "id",
            "c",
            "b",
            "t",
            0,
            "https://console.cloud.google.com/cloud-build/builds;region=global/id?project=p",
            "2",
            "",
        ),
    ),
}


@pytest.fixture
def no_git(tmp_path: Path) -> dict[str, str]:
    return {"PATH": str(tmp_path / "empty")}


def told(context: Context) -> Told:
    return (
        context.ci_run_id,
        context.git_commit,
        context.git_branch,
        context.ci_job,
        context.ci_attempt,
        context.ci_url,
        context.change_id,
        context.repository,
    )


@pytest.mark.parametrize("name", [system.name for system in SYSTEMS])
def test_each_system_is_recognised_and_read(name: str) -> None:
    environ, expected = CASES[name]
    context = begin(environ, "/rootdir", run_id="run-1").result()
    assert context.ci_provider == name
    assert told(context) == expected
    assert is_ci(environ)


def test_the_systems_are_those_that_are_promised() -> None:
    promised = "github gitlab circle jenkins azure bitbucket buildkite travis teamcity drone woodpecker gitea forgejo"
    promised += " appveyor codebuild semaphore cirrus bitrise codefresh buddy bamboo google-cloud-build"
    assert {system.name for system in SYSTEMS} == set(promised.split()) == set(CASES)


@pytest.mark.parametrize(("name", "over"), [("forgejo", "gitea"), ("gitea", "github"), ("woodpecker", "drone")])
def test_a_system_that_sets_anothers_variables_too_is_asked_first(name: str, over: str) -> None:
    names = [system.name for system in SYSTEMS]
    assert names.index(name) < names.index(over)
    assert begin({**CASES[over][0], **CASES[name][0]}, "/rootdir", run_id="r").result().ci_provider == name


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_of_several_variables_the_first_that_has_a_value_counts(system: CISystem) -> None:
    [sign, *_] = system.sign.split()
    variable, _, value = sign.partition("=")
    for field in ("run_id", "commit", "branch", "job", "url", "change", "repository", "pipeline"):
        sources = [source for source in getattr(system, field).split() if source != variable]
        if any("{" in source for source in sources):
            continue  # what a template is made of is in the cases above
        for number, source in enumerate(sources):
            environ = {variable: value or "x", **dict.fromkeys(sources[number:], "later"), source: "first"}
            told_of = detect_ci(environ)
            assert told_of is not None
            assert getattr(told_of, field) == "first", source


def test_a_whole_context() -> None:
    assert begin(GITHUB, "/rootdir", run_id="run-1", variant="v").result() == GITHUB_CONTEXT


def test_without_a_pull_request_the_branch_is_the_ref_s_name() -> None:
    environ = {**GITHUB, "GITHUB_HEAD_REF": "", "GITHUB_REF": "refs/heads/main", "GITHUB_REF_NAME": "main"}
    context = begin(environ, "/rootdir", run_id="r").result()
    assert (context.git_branch, context.change_id) == ("main", "")


def test_a_merge_queue_s_branch_names_its_pull_request() -> None:
    environ = {**GITHUB, "GITHUB_REF": "refs/heads/gh-readonly-queue/main/pr-34-abcdef"}
    assert begin(environ, "/rootdir", run_id="r").result().change_id == "34"


def test_buddys_former_names_are_read_too() -> None:
    environ = {
        "BUDDY_WORKSPACE_ID": "1",
        "BUDDY_EXECUTION_ID": "9",
        "BUDDY_EXECUTION_REVISION": "c",
        "BUDDY_EXECUTION_BRANCH": "b",
        "BUDDY_PIPELINE_NAME": "p",
        "BUDDY_EXECUTION_URL": "https://app.buddy.works/9",
        "BUDDY_EXECUTION_PULL_REQUEST_ID": "pull/12",
        "BUDDY_SCM_URL": "https://github.com/o/r",
    }
    context = begin(environ, "/rootdir", run_id="r").result()
    assert told(context) == ("9", "c", "b", "p", 0, "https://app.buddy.works/9", "12", "https://github.com/o/r")


def test_jenkins_run_is_build_id_before_build_number() -> None:
    ci = detect_ci({"JENKINS_URL": "x", "BUILD_ID": "1", "BUILD_NUMBER": "2"})
    assert ci is not None
    assert ci.run_id == "1"


@pytest.mark.parametrize("name", [system.name for system in SYSTEMS])
def test_a_system_that_tells_nothing_more_leaves_all_else_empty(name: str) -> None:
    system = next(system for system in SYSTEMS if system.name == name)
    variable, _, value = system.sign.split()[0].partition("=")
    context = begin({variable: value or "x"}, "/rootdir", run_id="r").result()
    assert context.ci_provider == name
    alone = {variable: value or "x"}
    named_by_sign = [part for part in told(context) if part and part not in (alone[variable], 0)]
    assert named_by_sign == []


@pytest.mark.parametrize("name", [system.name for system in SYSTEMS])
@pytest.mark.parametrize("value", ["", " ", "\udcff", "é\n\0", "x" * 100_000, "{0}{a.b}", "[", "9" * 5000])
def test_no_value_of_a_variable_raises(name: str, value: str) -> None:
    environ = dict.fromkeys(CASES[name][0], value)
    begin({**environ, "PATH": ""}, "/rootdir", run_id="r").result()


@pytest.mark.parametrize("value", ["", "false", "False", "0"])
def test_a_sign_that_says_no_is_no_sign(value: str) -> None:
    assert not is_ci({"GITHUB_ACTIONS": value})
    assert detect_ci({"GITHUB_ACTIONS": value, "CI": "true"}) is None


def test_an_unknown_ci_system_is_local(no_git: dict[str, str]) -> None:
    context = begin({**no_git, "CI": "true", "BUILD_ID": "1"}, "/somewhere/root", run_id="r").result()
    assert context.ci_provider == "local"
    assert context.service == "root"
    assert told(context) == ("", "", "", "", 0, "", "", "")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("0", 0),
        ("65535", 65535),
        ("65536", None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_numbers_that_no_column_can_hold_are_absent(text: str, number: int | None) -> None:
    assert uint16(text) == number


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_every_source_of_the_table_is_a_variable_or_a_template(system: CISystem) -> None:
    variable = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
    for sources in system[2:11]:
        for source in str(sources).split():
            if "{" not in source:
                assert variable.fullmatch(source)
                continue
            for _, name, pattern, _ in string.Formatter().parse(source):
                assert name is None or variable.fullmatch(name)
                assert not pattern or re.compile(pattern).groups == 1


def test_local_asks_git_and_names_the_service_after_the_repository(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    root.mkdir()
    for command in (
        ("init", "-q"),
        ("checkout", "-q", "-b", "topic"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"),
        ("remote", "add", "origin", "https://token@gitlab.example/group/sub/product.git"),
    ):
        subprocess.run(("git", "-C", str(root), *command), check=True)
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    context = begin(environ, root, run_id="r", variant="v").result()
    assert len(context.git_commit) == 40
    expected = Context(
        run_id="r",
        git_commit=context.git_commit,
        git_branch="topic",
        repository="https://gitlab.example/group/sub/product.git",
        service="product",
        variant="v",
        resource={
            "vcs.owner.name": "group/sub",
            "vcs.provider.name": "gitlab",
            "vcs.repository.name": "product",
        },
    )
    assert context == expected


def test_a_known_ci_system_starts_no_git(tmp_path: Path) -> None:
    pending = begin(GITHUB, tmp_path, run_id="r")
    assert pending._git is None
    pending.close()


@pytest.mark.parametrize(
    ("rootdir", "service"), [("/a/product/", "product"), ("product", "product"), ("/", "unknown_service")]
)
def test_without_a_repository_the_service_is_the_rootdir_s_name(
    no_git: dict[str, str], rootdir: str, service: str
) -> None:
    assert begin(no_git, rootdir, run_id="r").result().service == service


def test_the_default_variant_names_system_machine_and_python(monkeypatch: pytest.MonkeyPatch) -> None:
    version = f"py{sys.version_info.major}.{sys.version_info.minor}"
    assert re.fullmatch(rf"[a-z0-9]+-[a-z0-9_]+-{re.escape(version)}", default_variant())
    monkeypatch.setattr(sys, "platform", "win32")
    assert default_variant().startswith("windows-")


def test_the_default_variant_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(arguments)

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(os, "popen", refuse)
    assert default_variant()
