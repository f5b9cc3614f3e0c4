// Package browsertest looks at the page with a real browser on a real server. The test needs
// Chromium and Node and runs with the build tag browser:
//
//	npm ci --prefix edge/web/browsertest && go test -tags browser ./edge/web/browsertest
package browsertest
