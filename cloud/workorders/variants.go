package workorders

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // decoders of thumbnails
	"image/jpeg"
	_ "image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp"
)

// The bounds of what is made of an attachment. A decoded picture takes up to 16 bytes a pixel.
const (
	maxPixels    = 24_000_000
	thumbSide    = 320 // pixels
	imageTimeout = time.Minute
	videoTimeout = 10 * time.Minute
	toolMemory   = 2 << 20 // KiB of address space
	toolCPU      = 20 * 60 // seconds
	videoSide    = 1280    // pixels
)

// makeVariants makes what there is not yet; why something could not be made is a remark, and the
// original is kept in any case.
func (m *Module) makeVariants(ctx context.Context, a *Attachment) {
	if len(a.Variants)+len(a.Remarks) > 0 {
		return
	}
	try := func(name, kind string, make func() error) {
		if err := make(); err != nil {
			_ = os.Remove(m.files.path(a.ID, name))
			a.Remarks = append(a.Remarks, name+": "+err.Error())
			return
		}
		info, err := os.Stat(m.files.path(a.ID, name))
		if err != nil {
			a.Remarks = append(a.Remarks, name+": "+err.Error())
			return
		}
		a.Variants = append(a.Variants, Variant{Name: name, Type: kind, Size: info.Size()})
	}
	src := m.files.path(a.ID, "")
	switch a.Type {
	case "image/jpeg", "image/png", "image/gif", "image/webp":
		try("thumbnail", "image/jpeg", func() error { return thumbnail(src, m.files.path(a.ID, "thumbnail")) })
		if a.Type == "image/jpeg" || a.Type == "image/png" {
			try("webp", "image/webp", func() error { return m.toWebP(ctx, src, m.files.path(a.ID, "webp")) })
		}
	case "video/webm", "video/avi", "video/quicktime":
		try("mp4", "video/mp4", func() error { return m.toMP4(ctx, src, m.files.path(a.ID, "mp4")) })
	}
}

// measureImage looks at a picture's size without decoding it.
func measureImage(f io.ReadSeeker) error {
	c, _, err := image.DecodeConfig(f)
	if err != nil {
		return fmt.Errorf("read picture: %w", err)
	}
	if c.Width < 1 || c.Height < 1 || int64(c.Width)*int64(c.Height) > maxPixels {
		return fmt.Errorf("%d x %d pixels are more than %d", c.Width, c.Height, maxPixels)
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// thumbnail makes a small JPEG of a picture; a decoder that panics on what it is given fails the
// thumbnail only.
func thumbnail(from, to string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read picture: %v", p)
		}
	}()
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := measureImage(f); err != nil {
		return err
	}
	picture, _, err := image.Decode(f)
	if err != nil {
		return fmt.Errorf("read picture: %w", err)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, shrink(picture), &jpeg.Options{Quality: 80}); err != nil {
		return fmt.Errorf("write thumbnail: %w", err)
	}
	return os.WriteFile(to, b.Bytes(), 0o600)
}

// shrink fits a picture into a square of thumbSide, on white.
func shrink(p image.Image) image.Image {
	w, h := p.Bounds().Dx(), p.Bounds().Dy()
	if most := max(w, h); most > thumbSide {
		w, h = max(w*thumbSide/most, 1), max(h*thumbSide/most, 1)
	}
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(out, out.Bounds(), image.White, image.Point{}, draw.Src)
	draw.ApproxBiLinear.Scale(out, out.Bounds(), p, p.Bounds(), draw.Over, nil)
	return out
}

// toWebP has cwebp write a picture; as the thumbnail, only of a bounded number of pixels.
func (m *Module) toWebP(ctx context.Context, from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	err = errors.Join(measureImage(f), f.Close())
	if err != nil {
		return err
	}
	return m.tool(ctx, imageTimeout, "cwebp", "-quiet", "-metadata", "none", "-q", "80", from, "-o", to)
}

// toMP4 has ffmpeg write a film that every browser plays. It may open local files only.
func (m *Module) toMP4(ctx context.Context, from, to string) error {
	side := strconv.Itoa(videoSide)
	return m.tool(ctx, videoTimeout, "ffmpeg", "-nostdin", "-v", "error", "-y", "-protocol_whitelist", "file", "-threads", "2", "-i", from,
		"-map", "0:v:0", "-map", "0:a:0?", "-vf", "scale='min("+side+",iw)':'-2'", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p",
		"-c:a", "aac", "-movflags", "+faststart", "-fs", strconv.FormatInt(4*m.files.maxSize, 10), "-f", "mp4", to)
}

// tool runs a program of the system with bounded time and memory; what it prints is its reason.
func (m *Module) tool(ctx context.Context, timeout time.Duration, name string, args ...string) error {
	program, err := exec.LookPath(filepath.Join(m.files.converter, name))
	if err != nil {
		return fmt.Errorf("%s is not installed; the original is kept", name)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	limits := fmt.Sprintf(`ulimit -v %d; ulimit -t %d; umask 077; exec "$0" "$@"`, toolMemory, toolCPU)
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", limits, program}, args...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C"}
	cmd.WaitDelay = 5 * time.Second
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &limited{&said}, &limited{&said}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("took longer than %s", timeout)
		}
		return fmt.Errorf("%s: %w: %s", name, err, firstLine(said.String()))
	}
	return nil
}

// limited keeps the first 4 KiB that a program prints.
type limited struct{ b *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := 4096 - l.b.Len(); room > 0 {
		l.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return shorten(line)
}
