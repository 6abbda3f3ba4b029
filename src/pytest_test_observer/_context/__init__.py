"""Where a run happens: CI system, git, and what the user says of it, resolved once for a run."""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING, Any

from pytest_test_observer._context.ci import CIContext, detect_ci, is_ci
from pytest_test_observer._context.git import GitReader, repository_name, without_credentials
from pytest_test_observer._context.resource import given_attributes, given_facts
from pytest_test_observer._record import Context
from pytest_test_observer._text import storable_deep

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PendingContext", "begin", "default_variant", "is_ci"]

# Names of OpenTelemetry's os.type that differ from the beginning of sys.platform.
_OS_TYPES = {"win32": "windows", "cygwin": "windows", "sunos5": "solaris"}
_NO_NAME = "unknown_service"  # OpenTelemetry's default for service.name; here for a rootdir of /
_FORGES = ("github", "gitlab", "bitbucket", "gitea")  # names of OpenTelemetry's vcs.provider.name


def begin(
    environ: Mapping[str, str], rootdir: str | os.PathLike[str], *, run_id: str, variant: str = ""
) -> PendingContext:
    r"""Read the environment, and start git where no CI system tells what is tested.

    Returns at once: ask for the result when it is needed, but before the first test, which should not see
    git as a child process. Bytes that are no UTF-8 are written out in it (``\udcff``).
    """
    return PendingContext(environ, rootdir, run_id=run_id, variant=variant)


class PendingContext:
    """A context whose git may still be running; takes the arguments of :func:`begin`."""

    def __init__(
        self, environ: Mapping[str, str], rootdir: str | os.PathLike[str], *, run_id: str, variant: str = ""
    ) -> None:
        self._rootdir = os.fspath(rootdir)
        self._own = {"run_id": run_id, "variant": variant or default_variant()}
        self._given = given_attributes(environ)
        self._ci = detect_ci(environ)
        self._git = GitReader(rootdir, environ) if self._ci is None else None

    def result(self) -> Context:
        """Return the context; waits for git at most 2 s from the start, and leaves no process behind."""
        detected = _facts_of_ci(self._ci) if self._ci else self._facts_of_git()
        facts: dict[str, Any] = {**self._own, **detected, **given_facts(self._given)}
        repository = repository_name(facts["repository"])
        facts.setdefault("service", repository.name or _last_part(self._rootdir) or _NO_NAME)
        return Context(**storable_deep({**facts, "resource": self._resource(facts["repository"])}))

    def close(self) -> None:
        """End git without waiting: for a run that ends before it needs its context."""
        if self._git:
            self._git.close()

    def _facts_of_git(self) -> dict[str, Any]:
        facts = self._git.result() if self._git else ("", "", "")
        return dict(zip(("git_commit", "git_branch", "repository"), facts, strict=True))

    def _resource(self, repository: str) -> dict[str, str]:
        """Return what has no column, by name; what is given wins over what was detected."""
        detected = {**_vcs_attributes(repository), **_cicd_attributes(self._ci)}
        present = {name: value for name, value in detected.items() if value}
        return dict(sorted({**present, **self._given}.items()))


def default_variant() -> str:
    """Return what tells the cells of a CI matrix apart, such as ``linux-x86_64-py3.11``."""
    version = f"py{sys.version_info.major}.{sys.version_info.minor}"
    parts = (_OS_TYPES.get(sys.platform, sys.platform), platform.machine().lower(), version)
    return "-".join(part for part in parts if part)


def _last_part(path: str) -> str:
    return os.path.basename(path.rstrip("/\\"))


def _facts_of_ci(ci: CIContext) -> dict[str, Any]:
    return {
        "ci_provider": ci.name,
        "ci_run_id": ci.run_id,
        "ci_job": ci.job,
        "ci_attempt": ci.attempt,
        "ci_url": without_credentials(ci.url),
        "git_commit": ci.commit,
        "git_branch": ci.branch,
        "change_id": ci.change,
        "repository": without_credentials(ci.repository),
    }


def _vcs_attributes(url: str) -> dict[str, str]:
    host, owner, name = repository_name(url)
    return {
        "vcs.repository.name": name,
        "vcs.owner.name": owner,
        "vcs.provider.name": next((forge for forge in _FORGES if forge in host), ""),
    }


def _cicd_attributes(ci: CIContext | None) -> dict[str, str]:
    return {"cicd.pipeline.name": ci.pipeline, "cicd.pipeline.task.type": "test"} if ci else {}
