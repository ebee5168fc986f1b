#!/bin/sh
# The steps of the images, one per call: build-tools | wheel SOURCE WHEELS | runtime-tools | joulemark WHEELS
set -eu

packages() {
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
  rm -rf /var/lib/apt/lists/*
}

case "$1" in
  build-tools)
    # npm builds the leaderboard's page into the wheel.
    packages nodejs npm
    ;;
  wheel)
    python3 -m venv /tmp/build
    JOULEMARK_SITE=required /tmp/build/bin/pip wheel --no-cache-dir --no-deps --wheel-dir "$3" "$2"
    ;;
  runtime-tools)
    # KubeRay asks nodes for their health with wget; engines compile kernels with gcc when they start.
    packages ca-certificates gcc libc6-dev wget
    groupadd --gid 1000 joulemark
    useradd --uid 1000 --gid 1000 --create-home joulemark
    ;;
  joulemark)
    python3 -m venv /opt/joulemark
    # Ray's command line and dashboard come with ray[default], which KubeRay needs.
    /opt/joulemark/bin/pip install --no-cache-dir "$(ls "$2"/joulemark-*.whl)[cluster]"
    ;;
  *)
    echo "install.sh: no step is called $1" >&2
    exit 2
    ;;
esac
