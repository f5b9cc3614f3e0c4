package workorders

import (
	"bytes"
	"mime"
	"net/http"
	"path"
	"strings"
)

// sniff tells a file's type by its first bytes; what is unknown is application/octet-stream.
func sniff(head []byte) string {
	if len(head) >= 12 && string(head[4:8]) == "ftyp" {
		switch brand := string(head[8:12]); {
		case brand == "qt  ":
			return "video/quicktime"
		case strings.HasPrefix(brand, "hei") || strings.HasPrefix(brand, "hev") || brand == "mif1":
			return "image/heic"
		case brand == "avif":
			return "image/avif"
		}
	}
	if bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n\ufeff"), []byte("<svg")) {
		return "image/svg+xml"
	}
	kind, _, _ := mime.ParseMediaType(http.DetectContentType(head))
	return kind
}

// mismatch tells whether a file is something else than it was called, by name or header. Text,
// archives and what is not known are called by many names.
func mismatch(declared, found, name string) bool {
	byName, _, _ := mime.ParseMediaType(mime.TypeByExtension(strings.ToLower(path.Ext(name))))
	return differs(declared, found) || differs(byName, found)
}

func differs(called, found string) bool {
	if called == "" || called == found || called == "application/octet-stream" || called == "application/x-www-form-urlencoded" {
		return false
	}
	group := func(s string) string { g, _, _ := strings.Cut(s, "/"); return g }
	media := func(s string) bool {
		g := group(s)
		return g == "image" || g == "video" || g == "audio" || s == "application/pdf"
	}
	if media(called) != media(found) {
		return true
	}
	return media(called) && (group(called) != group(found) || group(called) == "image")
}
