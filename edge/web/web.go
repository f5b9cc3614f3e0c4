// Package web is the web page of hub and cloud: static files, embedded as they are, no build
// step, nothing from elsewhere. Whom the page talks to, the server writes into its markup.
//
// It guarantees that the page works under its own strict Content-Security-Policy, also where
// no other middleware sets one, and that an updated binary is seen at the next load.
package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed static
var static embed.FS

// policy lets the page load from its own server only. Scripts and styles in the markup are
// refused: text that comes from a device or a person can never become code.
const policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

// contentTypes are given by extension, as those of the operating system differ.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".md":   "text/markdown; charset=utf-8",
	"":      "text/plain; charset=utf-8", // LICENSE
}

type file struct {
	body        []byte
	etag        string
	contentType string
}

// Page says what serves the page.
type Page struct {
	Cloud bool // many sites, GET /v1/sites; else a hub, which is one site
	Demo  bool // of a simulation: it has GET /demo/state
	Asks  bool // a cloud with a model that answers questions: POST /v1/agent/ask
}

const element = "<headcount-app>"

// tag is the page's element with what the server is.
func (p Page) tag() string {
	kind, more := "hub", ""
	if p.Cloud {
		kind = "cloud"
	}
	if p.Demo {
		more += " simulated"
	}
	if p.Asks {
		more += " asks"
	}
	return `<headcount-app server="` + kind + `"` + more + `>`
}

// Handler serves the page at / and its files beside it.
func Handler(p Page) http.Handler {
	files := load()
	index := string(files["index.html"].body)
	files["index.html"] = newFile("index.html", []byte(strings.Replace(index, element, p.tag(), 1)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		name := strings.TrimPrefix(r.URL.Path, "/")
		if name == "" {
			name = "index.html"
		}
		f, ok := files[name]
		if !ok {
			http.Error(w, "there is no such page; the overview is at /", http.StatusNotFound)
			return
		}
		f.serve(w, r)
	})
}

// load reads all files once; they are part of the binary, so that cannot fail.
func load() map[string]file {
	files := map[string]file{}
	err := fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := static.ReadFile(name)
		files[strings.TrimPrefix(name, "static/")] = newFile(name, body)
		return err
	})
	if err != nil {
		panic("web: embedded files: " + err.Error())
	}
	return files
}

func newFile(name string, body []byte) file {
	sum := sha256.Sum256(body)
	return file{body: body, etag: `"` + hex.EncodeToString(sum[:12]) + `"`, contentType: contentTypes[path.Ext(name)]}
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("ETag", f.etag)
	h.Set("Cache-Control", "no-cache") // kept, but asked about at each load
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	if r.Header.Get("If-None-Match") == f.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Method == http.MethodGet {
		w.Write(f.body)
	}
}
