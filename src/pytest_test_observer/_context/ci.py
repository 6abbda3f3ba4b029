"""CI systems as rows of one table: which variables tell what a run is.

Longer than other modules: whoever looks for a system finds all of them here, and the hundred lines that read the table.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SYSTEMS", "CIContext", "CISystem", "detect_ci", "is_ci", "uint16"]

_UINT16_MAX = 65_535  # what the column ci_attempt can hold


class CISystem(NamedTuple):
    """One CI system; every field but ``name``, ``first_attempt`` and ``docs`` is read from the environment.

    A field holds sources separated by spaces; the first that has a value is taken. A source is the name of
    a variable, or a template in which ``{NAME}`` stands for a variable and ``{NAME:regex}`` for the first
    group of a regular expression that matches all of it. A template with a part that has no value has none.
    ``sign`` holds the variables, or ``NAME=value``, any of which tells that this system runs us.
    ``first_attempt`` is the number the system gives to the first attempt; ours is 1. ``docs`` is where the
    system documents its variables.
    """

    name: str
    sign: str
    run_id: str
    commit: str = ""
    branch: str = ""
    job: str = ""
    attempt: str = ""
    url: str = ""
    change: str = ""
    repository: str = ""
    pipeline: str = ""
    first_attempt: int = 1
    docs: str = ""


class CIContext(NamedTuple):
    """What a CI system tells of the run; empty (``attempt``: 0) where it does not."""

    name: str
    run_id: str
    commit: str
    branch: str
    job: str
    attempt: int
    url: str
    change: str
    repository: str
    pipeline: str


_GITHUB = CISystem(
    "github",
    sign="GITHUB_ACTIONS",
    run_id="GITHUB_RUN_ID",
    commit="GITHUB_SHA",
    branch="GITHUB_HEAD_REF GITHUB_REF_NAME",
    job="GITHUB_JOB",
    attempt="GITHUB_RUN_ATTEMPT",
    url="{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}",
    change="{GITHUB_REF:refs/pull/([0-9]+)/.*} {GITHUB_REF:refs/heads/gh-readonly-queue/.*/pr-([0-9]+)-.*}",
    repository="{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}",
    pipeline="GITHUB_WORKFLOW",
    docs="https://docs.github.com/en/actions/reference/workflows-and-actions/variables",
)
# Both set GITHUB_ACTIONS and GitHub's variables too, but number the pages of runs within the repository.
_GITEA = _GITHUB._replace(
    name="gitea",
    sign="GITEA_ACTIONS",
    url="{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_NUMBER}",
    docs="https://docs.gitea.com/usage/actions/overview",
)
_FORGEJO = _GITEA._replace(
    name="forgejo",
    sign="FORGEJO_ACTIONS",
    docs="https://forgejo.org/docs/latest/user/actions/reference/",
)

# Order matters: a system that also sets another's variables stands before it. Forgejo sets Gitea's, Gitea
# sets GitHub's, Woodpecker once set Drone's; CodeBuild hosts runners of GitHub, GitLab and Buildkite.
SYSTEMS: tuple[CISystem, ...] = (
    _FORGEJO,
    _GITEA,
    _GITHUB,
    CISystem(
        "gitlab",
        sign="GITLAB_CI",
        run_id="CI_PIPELINE_ID",
        commit="CI_COMMIT_SHA",
        branch="CI_COMMIT_REF_NAME",
        job="CI_JOB_NAME",
        url="CI_PIPELINE_URL",
        change="CI_MERGE_REQUEST_IID CI_EXTERNAL_PULL_REQUEST_IID",
        repository="CI_PROJECT_URL CI_REPOSITORY_URL",
        pipeline="CI_PIPELINE_NAME",
        docs="https://docs.gitlab.com/ci/variables/predefined_variables/",
    ),
    CISystem(
        "circle",
        sign="CIRCLECI",
        run_id="CIRCLE_BUILD_NUM",
        commit="CIRCLE_SHA1",
        branch="CIRCLE_BRANCH",
        job="CIRCLE_JOB",
        url="CIRCLE_BUILD_URL",
        change="CIRCLE_PR_NUMBER {CIRCLE_PULL_REQUEST:.*/([0-9]+)}",
        repository="CIRCLE_REPOSITORY_URL",
        docs="https://circleci.com/docs/reference/variables/",
    ),
    CISystem(
        "jenkins",
        sign="JENKINS_URL",
        run_id="BUILD_ID BUILD_NUMBER",
        commit="GIT_COMMIT",
        branch="GIT_BRANCH",
        job="JOB_NAME",
        url="BUILD_URL",
        change="CHANGE_ID ghprbPullId gitlabMergeRequestIid",
        repository="GIT_URL GIT_URL_1",
        pipeline="JOB_NAME",
        docs="https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables",
    ),
    CISystem(
        "azure",
        sign="TF_BUILD",
        run_id="BUILD_BUILDID",
        commit="SYSTEM_PULLREQUEST_SOURCECOMMITID BUILD_SOURCEVERSION",
        branch="{SYSTEM_PULLREQUEST_SOURCEBRANCH:(?:refs/heads/)?(.+)} {BUILD_SOURCEBRANCH:refs/heads/(.+)}"
        " {BUILD_SOURCEBRANCH:refs/tags/(.+)} BUILD_SOURCEBRANCHNAME",
        job="SYSTEM_JOBDISPLAYNAME SYSTEM_JOBNAME AGENT_JOBNAME",
        attempt="SYSTEM_JOBATTEMPT",
        url="{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECTID}/_build/results?buildId={BUILD_BUILDID}",
        change="SYSTEM_PULLREQUEST_PULLREQUESTNUMBER SYSTEM_PULLREQUEST_PULLREQUESTID",
        repository="BUILD_REPOSITORY_URI",
        pipeline="BUILD_DEFINITIONNAME",
        docs="https://learn.microsoft.com/azure/devops/pipelines/build/variables",
    ),
    CISystem(
        "bitbucket",
        sign="BITBUCKET_BUILD_NUMBER",
        run_id="BITBUCKET_BUILD_NUMBER",
        commit="BITBUCKET_COMMIT",
        branch="BITBUCKET_BRANCH BITBUCKET_TAG",
        attempt="BITBUCKET_STEP_RUN_NUMBER",
        url="https://bitbucket.org/{BITBUCKET_REPO_FULL_NAME}/pipelines/results/{BITBUCKET_BUILD_NUMBER}",
        change="BITBUCKET_PR_ID",
        repository="BITBUCKET_GIT_HTTP_ORIGIN",
        docs="https://support.atlassian.com/bitbucket-cloud/docs/variables-and-secrets/",
    ),
    CISystem(
        "buildkite",
        sign="BUILDKITE",
        run_id="BUILDKITE_BUILD_ID",
        commit="{BUILDKITE_COMMIT:([0-9a-f]+)}",  # "HEAD" until the agent has resolved it
        branch="BUILDKITE_BRANCH BUILDKITE_TAG",
        job="BUILDKITE_LABEL BUILDKITE_STEP_KEY",
        attempt="BUILDKITE_RETRY_COUNT",
        url="BUILDKITE_BUILD_URL",
        change="{BUILDKITE_PULL_REQUEST:([0-9]+)}",  # "false" when there is none
        repository="BUILDKITE_REPO",
        pipeline="BUILDKITE_PIPELINE_SLUG",
        first_attempt=0,
        docs="https://buildkite.com/docs/pipelines/environment-variables",
    ),
    CISystem(
        "travis",
        sign="TRAVIS",
        run_id="TRAVIS_BUILD_ID",
        commit="TRAVIS_PULL_REQUEST_SHA TRAVIS_COMMIT",
        branch="TRAVIS_PULL_REQUEST_BRANCH TRAVIS_BRANCH",
        job="TRAVIS_JOB_NAME TRAVIS_JOB_NUMBER",
        url="TRAVIS_BUILD_WEB_URL",
        change="{TRAVIS_PULL_REQUEST:([0-9]+)}",  # "false" when there is none
        # The page of a build names the forge: https://app.travis-ci.com/github/owner/name/builds/1
        repository="https://{TRAVIS_BUILD_WEB_URL:.*/(github|gitlab)/.*}.com/{TRAVIS_REPO_SLUG}",
        docs="https://docs.travis-ci.com/user/environment-variables",
    ),
    CISystem(
        "teamcity",
        sign="TEAMCITY_VERSION",
        run_id="BUILD_NUMBER",
        commit="BUILD_VCS_NUMBER",
        job="TEAMCITY_BUILDCONF_NAME",
        url="BUILD_URL",
        pipeline="TEAMCITY_PROJECT_NAME",
        docs="https://www.jetbrains.com/help/teamcity/predefined-build-parameters.html",
    ),
    CISystem(
        "woodpecker",
        sign="CI=woodpecker CI_SYSTEM_NAME=woodpecker",
        run_id="CI_PIPELINE_NUMBER CI_BUILD_NUMBER",
        commit="CI_COMMIT_SHA",
        branch="CI_COMMIT_SOURCE_BRANCH CI_COMMIT_BRANCH CI_COMMIT_TAG",
        job="CI_STEP_NAME CI_WORKFLOW_NAME",
        url="CI_PIPELINE_URL CI_BUILD_LINK",
        change="CI_COMMIT_PULL_REQUEST",
        repository="CI_REPO_URL CI_REPO_LINK",
        pipeline="CI_WORKFLOW_NAME",
        docs="https://woodpecker-ci.org/docs/usage/environment",
    ),
    CISystem(
        "drone",
        sign="DRONE",
        run_id="DRONE_BUILD_NUMBER",
        commit="DRONE_COMMIT_SHA DRONE_COMMIT",
        branch="DRONE_SOURCE_BRANCH DRONE_BRANCH DRONE_COMMIT_BRANCH DRONE_TAG",
        job="DRONE_STEP_NAME DRONE_STAGE_NAME",
        url="DRONE_BUILD_LINK",
        change="DRONE_PULL_REQUEST",
        repository="DRONE_REPO_LINK DRONE_GIT_HTTP_URL DRONE_REMOTE_URL",
        pipeline="DRONE_STAGE_NAME",
        docs="https://docs.drone.io/pipeline/environment/reference",
    ),
    CISystem(
        "appveyor",
        sign="APPVEYOR",
        run_id="APPVEYOR_BUILD_ID",
        commit="APPVEYOR_PULL_REQUEST_HEAD_COMMIT APPVEYOR_REPO_COMMIT",
        branch="APPVEYOR_PULL_REQUEST_HEAD_REPO_BRANCH APPVEYOR_REPO_BRANCH",
        job="APPVEYOR_JOB_NAME APPVEYOR_JOB_NUMBER",
        url="{APPVEYOR_URL}/project/{APPVEYOR_ACCOUNT_NAME}/{APPVEYOR_PROJECT_SLUG}/builds/{APPVEYOR_BUILD_ID}",
        change="APPVEYOR_PULL_REQUEST_NUMBER",
        repository="https://{APPVEYOR_REPO_PROVIDER:(github)}.com/{APPVEYOR_REPO_NAME}",
        pipeline="APPVEYOR_PROJECT_NAME",
        docs="https://www.appveyor.com/docs/environment-variables/",
    ),
    CISystem(
        "semaphore",
        sign="SEMAPHORE",
        run_id="SEMAPHORE_WORKFLOW_ID SEMAPHORE_PIPELINE_ID",
        commit="SEMAPHORE_GIT_PR_SHA SEMAPHORE_GIT_SHA",
        branch="SEMAPHORE_GIT_PR_BRANCH SEMAPHORE_GIT_WORKING_BRANCH SEMAPHORE_GIT_BRANCH",
        job="SEMAPHORE_JOB_NAME",
        url="{SEMAPHORE_ORGANIZATION_URL}/workflows/{SEMAPHORE_WORKFLOW_ID}",
        change="SEMAPHORE_GIT_PR_NUMBER",
        repository="SEMAPHORE_GIT_URL",
        pipeline="SEMAPHORE_PROJECT_NAME",
        docs="https://github.com/semaphoreio/semaphore/blob/main/docs/docs/reference/env-vars.md",
    ),
    CISystem(
        "cirrus",
        sign="CIRRUS_CI",
        run_id="CIRRUS_BUILD_ID",
        commit="CIRRUS_CHANGE_IN_REPO",
        branch="CIRRUS_BRANCH CIRRUS_TAG",
        job="CIRRUS_TASK_NAME",
        url="https://cirrus-ci.com/build/{CIRRUS_BUILD_ID}",
        change="CIRRUS_PR",
        repository="CIRRUS_REPO_CLONE_URL",
        docs="https://cirrus-ci.org/guide/writing-tasks/#environment-variables",
    ),
    CISystem(
        "bitrise",
        sign="BITRISE_IO",
        run_id="BITRISE_BUILD_SLUG BITRISE_BUILD_NUMBER",
        commit="BITRISE_GIT_COMMIT GIT_CLONE_COMMIT_HASH",
        branch="BITRISE_GIT_BRANCH BITRISE_GIT_TAG",
        job="BITRISE_TRIGGERED_WORKFLOW_ID",
        url="BITRISE_BUILD_URL",
        change="{BITRISE_PULL_REQUEST:([0-9]+)}",  # "false" when there is none
        repository="GIT_REPOSITORY_URL",
        pipeline="BITRISE_APP_TITLE",
        docs="https://docs.bitrise.io/en/bitrise-ci/references/available-environment-variables.html",
    ),
    CISystem(
        "codefresh",
        sign="CF_BUILD_ID",
        run_id="CF_BUILD_ID",
        commit="CF_REVISION",
        branch="CF_BRANCH",
        job="CF_STEP_NAME",
        url="CF_BUILD_URL",
        change="CF_PULL_REQUEST_NUMBER",
        repository="{CF_COMMIT_URL:(https?://.+?)(?:/-)?/commits?/.+}",
        pipeline="CF_PIPELINE_NAME",
        docs="https://codefresh.io/docs/docs/pipelines/variables/",
    ),
    CISystem(
        "buddy",
        # BUDDY_RUN_… was BUDDY_EXECUTION_… before
        sign="BUDDY=true BUDDY_WORKSPACE_ID BUDDY_EXECUTION_ID",
        run_id="BUDDY_RUN_ID BUDDY_EXECUTION_ID",
        commit="BUDDY_RUN_COMMIT BUDDY_EXECUTION_REVISION",
        branch="BUDDY_RUN_PR_HEAD_BRANCH BUDDY_RUN_BRANCH BUDDY_RUN_TAG"
        " BUDDY_EXECUTION_PULL_REQUEST_HEAD_BRANCH BUDDY_EXECUTION_BRANCH BUDDY_EXECUTION_TAG",
        job="BUDDY_PIPELINE_NAME",
        url="BUDDY_RUN_URL BUDDY_EXECUTION_URL",
        change="BUDDY_RUN_PR_NO BUDDY_EXECUTION_PULL_REQUEST_NO {BUDDY_EXECUTION_PULL_REQUEST_ID:(?:pull/)?([0-9]+)}",
        repository="BUDDY_SCM_URL BUDDY_REPO_SSH_URL",
        pipeline="BUDDY_PIPELINE_NAME",
        docs="https://buddy.works/docs/pipelines/variables/default-variables",
    ),
    CISystem(
        "bamboo",
        sign="bamboo_planKey bamboo_buildKey",
        run_id="{bamboo_planKey}-{bamboo_buildNumber} bamboo_buildNumber",
        commit="bamboo_planRepository_1_revision bamboo_planRepository_revision bamboo_repository_revision_number",
        branch="bamboo_repository_pr_sourceBranch bamboo_planRepository_1_branchName"
        " bamboo_planRepository_branchName bamboo_repository_branch_name",
        job="bamboo_shortJobName",
        url="bamboo_buildResultsUrl bamboo_resultsUrl",
        change="bamboo_repository_pr_key",
        repository="bamboo_planRepository_1_repositoryUrl bamboo_planRepository_repositoryUrl",
        pipeline="bamboo_planName",
        docs="https://confluence.atlassian.com/display/BAMBOO1010/Bamboo+variables",
    ),
    CISystem(
        "codebuild",
        sign="CODEBUILD_BUILD_ID",
        run_id="CODEBUILD_BUILD_ID",
        commit="CODEBUILD_RESOLVED_SOURCE_VERSION",
        branch="{CODEBUILD_WEBHOOK_HEAD_REF:refs/heads/(.+)} {CODEBUILD_WEBHOOK_TRIGGER:branch/(.+)}"
        " {CODEBUILD_WEBHOOK_TRIGGER:tag/(.+)}",
        job="CODEBUILD_BATCH_BUILD_IDENTIFIER {CODEBUILD_BUILD_ID:([^:]+):.*}",
        url="CODEBUILD_BUILD_URL CODEBUILD_PUBLIC_BUILD_URL",
        change="{CODEBUILD_WEBHOOK_TRIGGER:pr/([0-9]+)} {CODEBUILD_SOURCE_VERSION:pr/([0-9]+)}",
        repository="CODEBUILD_SOURCE_REPO_URL",
        pipeline="{CODEBUILD_BUILD_ID:([^:]+):.*}",
        docs="https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html",
    ),
    CISystem(
        "google-cloud-build",  # its substitutions are variables where the build asks for them
        sign="BUILDER_OUTPUT",
        run_id="BUILD_ID",
        commit="COMMIT_SHA REVISION_ID",
        branch="_HEAD_BRANCH BRANCH_NAME TAG_NAME",
        job="TRIGGER_NAME",
        url="https://console.cloud.google.com/cloud-build/builds;region={LOCATION}/{BUILD_ID}?project={PROJECT_ID}",
        change="_PR_NUMBER",
        pipeline="TRIGGER_NAME",
        docs="https://docs.cloud.google.com/build/docs/configuring-builds/substitute-variable-values",
    ),
)


def detect_ci(environ: Mapping[str, str]) -> CIContext | None:
    """Return what the CI system that runs this process tells, None where none is recognised."""
    for system in SYSTEMS:
        if _signed(system.sign, environ):
            return _read(system, environ)
    return None


def is_ci(environ: Mapping[str, str]) -> bool:
    """Tell whether a CI system is recognised: what ``ch_send_from=ci`` asks."""
    return any(_signed(system.sign, environ) for system in SYSTEMS)


def uint16(text: str) -> int | None:
    """Return the decimal number in ``text``, None where it is none or a UInt16 column cannot hold it."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 10:
        return None
    number = int(text)
    return number if number <= _UINT16_MAX else None


def _signed(sign: str, environ: Mapping[str, str]) -> bool:
    for part in sign.split():
        name, _, wanted = part.partition("=")
        value = environ.get(name, "")
        if value == wanted if wanted else value.lower() not in ("", "false", "0"):
            return True
    return False


def _read(system: CISystem, environ: Mapping[str, str]) -> CIContext:
    number = uint16(_first(system.attempt, environ))
    return CIContext(
        name=system.name,
        attempt=0 if number is None else min(number + 1 - system.first_attempt, _UINT16_MAX),
        run_id=_first(system.run_id, environ),
        commit=_first(system.commit, environ),
        branch=_first(system.branch, environ),
        job=_first(system.job, environ),
        url=_first(system.url, environ),
        change=_first(system.change, environ),
        repository=_first(system.repository, environ),
        pipeline=_first(system.pipeline, environ),
    )


def _first(sources: str, environ: Mapping[str, str]) -> str:
    for source in sources.split():
        value = _filled(source, environ) if "{" in source else environ.get(source, "").strip()
        if value:
            return value
    return ""


def _filled(template: str, environ: Mapping[str, str]) -> str:
    parts = []
    for text, name, pattern, _ in string.Formatter().parse(template):
        parts.append(text)
        if name is not None:
            value = _part(environ.get(name, "").strip(), pattern or "(.+)")
            if not value:
                return ""
            parts.append(value)
    return "".join(parts)


def _part(value: str, pattern: str) -> str:
    found = re.fullmatch(pattern, value)
    return found[1] if found else ""
