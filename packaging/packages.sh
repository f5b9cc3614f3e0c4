#!/bin/sh
# Builds packages into dist/: packaging/packages.sh VERSION deb|rpm|tarball…
# ARCHES names other architectures than all three: amd64 arm64 arm7.
set -eu
cd "$(dirname "$0")/.."
version=${1:-0.0.0}
shift
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0
# A package's version begins with a digit: an untagged build is a 0.0.0 of its commit.
case $version in
v[0-9]*) PKG_VERSION=${version#v} ;;
[0-9]*.[0-9]*) PKG_VERSION=$version ;;
*) PKG_VERSION=0.0.0~git.$version ;;
esac
export PKG_VERSION
mkdir -p dist
go run ./cmd/headcount init --print >dist/headcount.yaml
for PKG_ARCH in ${ARCHES:-amd64 arm64 arm7}; do
	export PKG_ARCH
	goarch=$PKG_ARCH
	[ "$PKG_ARCH" = arm7 ] && goarch=arm
	mkdir -p "dist/$PKG_ARCH"
	for program in headcount headcount-cloud; do
		CGO_ENABLED=0 GOOS=linux GOARCH=$goarch GOARM=7 go build -trimpath -ldflags "-s -w -X main.version=$version" -o "dist/$PKG_ARCH/$program" "./cmd/$program"
	done
	for format in "$@"; do
		case $format in
		tarball)
			name=headcount_${PKG_VERSION}_linux_$PKG_ARCH
			rm -rf "dist/$name"
			mkdir -p "dist/$name"
			cp "dist/$PKG_ARCH/headcount" "dist/$PKG_ARCH/headcount-cloud" dist/headcount.yaml packaging/cloud.yaml packaging/Caddyfile packaging/nginx.conf \
				systemd/headcount.service systemd/headcount-cloud.service LICENSE README.md "dist/$name/"
			tar -C dist --owner=0 --group=0 -czf "dist/$name.tar.gz" "$name"
			rm -rf "dist/$name"
			;;
		deb | rpm)
			for config in nfpm nfpm-cloud; do
				GOFLAGS=-mod=mod go run "$nfpm" package --config "packaging/$config.yaml" --packager "$format" --target dist/
			done
			;;
		*)
			echo "there is no package format $format: want deb, rpm or tarball" >&2
			exit 2
			;;
		esac
	done
done
ls -l dist
