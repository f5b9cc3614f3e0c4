package web_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/headcount-hub/headcount/edge/web"
)

func get(t *testing.T, name string, h http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", name, nil)
	for k, v := range h {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	web.Handler(web.Page{}).ServeHTTP(w, r)
	return w
}

// files lists what is embedded, as paths below static.
func files(t *testing.T) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(os.DirFS("static"), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEveryFileIsServedWithItsTypeAndPolicy(t *testing.T) {
	types := map[string]string{".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".md": "text/markdown", "": "text/plain"}
	for _, name := range files(t) {
		w := get(t, "/"+name, nil)
		h := w.Header()
		want := types[path.Ext(name)]
		if w.Code != 200 || want == "" || !strings.HasPrefix(h.Get("Content-Type"), want) {
			t.Errorf("%s: got %d %s, want %s", name, w.Code, h.Get("Content-Type"), want)
		}
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy %q", name, csp)
		}
		again := get(t, "/"+name, http.Header{"If-None-Match": {h.Get("ETag")}})
		if again.Code != 304 || again.Body.Len() != 0 {
			t.Errorf("%s: asked again with its ETag: got %d and %d bytes, want 304", name, again.Code, again.Body.Len())
		}
	}
}

func TestPageKnowsItsServer(t *testing.T) {
	for want, p := range map[string]web.Page{
		`<headcount-app server="hub"></headcount-app>`:           {},
		`<headcount-app server="hub" simulated></headcount-app>`: {Demo: true},
		`<headcount-app server="cloud"></headcount-app>`:         {Cloud: true},
		`<headcount-app server="cloud" asks></headcount-app>`:    {Cloud: true, Asks: true},
	} {
		for _, name := range []string{"/", "/index.html"} {
			w := httptest.NewRecorder()
			web.Handler(p).ServeHTTP(w, httptest.NewRequest("GET", name, nil))
			if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%+v at %s: got %d without %s", p, name, w.Code, want)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, name := range []string{"/nothing", "/vendor", "/vendor/", "/static/app.js", "/../web.go", "/web.go", "/%2e%2e/web.go"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path = name
		w := httptest.NewRecorder()
		if web.Handler(web.Page{}).ServeHTTP(w, r); w.Code != 404 {
			t.Errorf("%s: got %d, want 404", name, w.Code)
		}
	}
	w := httptest.NewRecorder()
	if web.Handler(web.Page{}).ServeHTTP(w, httptest.NewRequest("POST", "/", nil)); w.Code != 405 || w.Header().Get("Allow") == "" {
		t.Errorf("POST: got %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	w = httptest.NewRecorder()
	if web.Handler(web.Page{}).ServeHTTP(w, httptest.NewRequest("HEAD", "/app.js", nil)); w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("HEAD: got %d and %d bytes", w.Code, w.Body.Len())
	}
}

// The page works without internet and under its policy: what it loads is here, no script or
// style is in the markup, nothing makes code or markup of text.
func TestPageIsSelfContained(t *testing.T) {
	var (
		foreign   = regexp.MustCompile(`(?:src|href|from|import|fetch\(|url\()\s*=?\s*\(?['"` + "`" + `]?(?:https?:)?//`)
		inline    = regexp.MustCompile(`(?i)<script(?:\s+type="module")?>|<style|\sstyle=|\son[a-z]+=|javascript:`)
		dangerous = regexp.MustCompile(`\binnerHTML\b|\bouterHTML\b|insertAdjacentHTML|document\.write|\beval\(|new Function|unsafeHTML|unsafeSVG|localStorage`)
		imports   = regexp.MustCompile(`(?m)^import (?:[^;'"]* from )?['"]([^'"]+)['"];$`)
	)
	for _, name := range files(t) {
		if strings.HasPrefix(name, "vendor/") {
			continue
		}
		b, err := os.ReadFile("static/" + name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for what, re := range map[string]*regexp.Regexp{"loads from elsewhere": foreign, "has inline code": inline, "makes code or markup of text": dangerous} {
			if m := re.FindString(text); m != "" {
				t.Errorf("%s %s: %s", name, what, m)
			}
		}
		for _, m := range imports.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(path.Join("static", path.Dir(name), m[1])); !strings.HasPrefix(m[1], "./") || err != nil {
				t.Errorf("%s imports %s, which is not here", name, m[1])
			}
		}
	}
}

// Vendored files are those that VERSIONS.md tells of, unchanged, each with its licence.
func TestVendoredFilesAreTheListedOnes(t *testing.T) {
	notes, err := os.ReadFile("static/vendor/VERSIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^ {4}([0-9a-f]{64})  (\S+)$`).FindAllStringSubmatch(string(notes), -1) {
		listed[m[2]] = m[1]
	}
	licences := map[string]bool{}
	for _, name := range files(t) {
		name, ok := strings.CutPrefix(name, "vendor/")
		if !ok || name == "VERSIONS.md" {
			continue
		}
		b, err := os.ReadFile("static/vendor/" + name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		if got := hex.EncodeToString(sum[:]); got != listed[name] {
			t.Errorf("%s has SHA-256 %s, VERSIONS.md says %q", name, got, listed[name])
		}
		licences[path.Dir(name)] = licences[path.Dir(name)] || path.Base(name) == "LICENSE"
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("VERSIONS.md lists %s, which is not here", name)
	}
	for dir, ok := range licences {
		if !ok {
			t.Errorf("vendor/%s has no LICENSE", dir)
		}
	}
}
