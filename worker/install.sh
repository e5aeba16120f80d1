#!/bin/sh
# Installs questream for production: the packages that a worker and the page run with and no others, each of the version and with
# the hash that requirements.lock names. VENV is absolute.
#
#   install.sh packages VENV     everything but questream; it seldom changes, so an image keeps it as a layer
#   install.sh questream VENV    questream itself, from the source tree that this file lies in
#
# Beside VENV it leaves VENV-tools, with the installer and the build backend; nothing in VENV needs it.
set -eu
cd "$(dirname "$0")/.."

step=${1:?packages or questream}
venv=${2:?the absolute path of the environment}
tools=$venv-tools

packages() {
    python3 -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r bootstrap.lock
    # --no-build: a package without a wheel would be built with tools that no hash pins.
    "$tools/bin/uv" pip install --quiet --python "$tools" --require-hashes --no-build \
        --constraint requirements.lock --group build
    "$tools/bin/uv" venv --quiet --no-project --python python3 "$venv"
    # pyproject.toml says what is needed and the lock which version of it; a package that the lock lacks is refused.
    "$tools/bin/uv" pip install --python "$venv" --require-hashes --no-build \
        --constraint requirements.lock --requirements pyproject.toml --extra serve
}

questream() {
    "$tools/bin/python" -m hatchling build --target wheel --directory "$tools/dist"
    "$tools/bin/uv" pip install --quiet --python "$venv" --no-deps "$tools"/dist/*.whl
    "$tools/bin/uv" pip check --quiet --python "$venv"
}

case $step in
packages) packages ;;
questream) questream ;;
*) echo "install.sh: there is no step '$step', only packages and questream" >&2; exit 2 ;;
esac
