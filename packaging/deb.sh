#!/bin/sh
# Builds dist/headcount_VERSION_ARCH.deb for amd64, arm64 and armhf: packaging/deb.sh VERSION
set -eu
cd "$(dirname "$0")/.."
version=${1:-0.0.0}
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0
# A Debian version begins with a digit: an untagged build is a 0.0.0 of its commit.
case $version in
v[0-9]*) DEB_VERSION=${version#v} ;;
[0-9]*.[0-9]*) DEB_VERSION=$version ;;
*) DEB_VERSION=0.0.0~git.$version ;;
esac
export DEB_VERSION
mkdir -p dist
go run ./cmd/headcount init --print >dist/headcount.yaml
for DEB_ARCH in amd64 arm64 armhf; do
	export DEB_ARCH
	goarch=$DEB_ARCH
	[ "$DEB_ARCH" = armhf ] && goarch=arm
	mkdir -p "dist/$DEB_ARCH"
	CGO_ENABLED=0 GOOS=linux GOARCH=$goarch GOARM=7 go build -trimpath -ldflags "-s -w -X main.version=$version" -o "dist/$DEB_ARCH/headcount" ./cmd/headcount
	GOFLAGS=-mod=mod go run "$nfpm" package --config packaging/nfpm.yaml --packager deb --target dist/
done
ls -l dist/*.deb
