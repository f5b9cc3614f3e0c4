package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headcount-hub/headcount/edge/gateway"
)

// target is a real server behind the gateway that counts what reaches its routes.
type target struct {
	addr             string
	hits, smuggled   atomic.Int64
	running, highest atomic.Int64
}

func (s *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.hits.Add(1)
	n := s.running.Add(1)
	defer s.running.Add(-1)
	for high := s.highest.Load(); n > high && !s.highest.CompareAndSwap(high, n); high = s.highest.Load() {
	}
	switch r.URL.Path {
	case "/smuggled":
		s.smuggled.Add(1)
	case "/wait":
		<-r.Context().Done()
		return
	case "/file":
		http.ServeContent(w, r, "f.txt", time.Time{}, bytes.NewReader(make([]byte, 1<<20)))
		return
	}
	_, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		gateway.WriteProblem(w, gateway.NewProblem(400, "%v", err))
		return
	}
	_, _ = io.WriteString(w, "ok")
}

// serve serves a target on a listener until the test ends.
func serve(t *testing.T, ln net.Listener) *target {
	t.Helper()
	s := &target{addr: ln.Addr().String()}
	g, err := gateway.New(gateway.Options{})
	if err != nil {
		t.Fatal(err)
	}
	srv := gateway.NewServer(g.Wrap(s), slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		gateway.Stop(ctx, srv)
		<-done
	})
	return s
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// pipes is a listener whose connections are in memory, so that time in a bubble passes at once.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (p *pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// Who sends or reads a byte now and then is cut off: headers in 5 s, the whole request in 15 s, the answer
// in 30 s, the next request in 60 s.
func TestSlowClientsAreCutOff(t *testing.T) {
	for name, tc := range map[string]struct {
		head  string
		drip  string // sent again every second
		limit time.Duration
	}{
		"slow header":    {"GET / HTTP/1.1\r\nHost: localhost\r\n", "X: y\r\n", 6 * time.Second},
		"slow body":      {"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n", "x", 16 * time.Second},
		"slow chunks":    {"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", 16 * time.Second},
		"slow reader":    {"GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n", "", 31 * time.Second},
		"idle":           {"", "", 6 * time.Second},
		"no more to ask": {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "", 61 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ln := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
				srv := gateway.NewServer(&target{}, slog.New(slog.DiscardHandler))
				done := make(chan error, 1)
				go func() { done <- srv.Serve(ln) }()
				conn := ln.dial()
				start := time.Now()
				cut := make(chan struct{})
				if name != "slow reader" {
					go func() { _, _ = io.Copy(io.Discard, conn); close(cut) }()
				}
				if _, err := io.WriteString(conn, tc.head); err != nil {
					t.Fatal(err)
				}
				for time.Since(start) < 2*tc.limit && tc.drip != "" {
					if _, err := io.WriteString(conn, tc.drip); err != nil {
						break
					}
					time.Sleep(time.Second)
				}
				if name == "slow reader" { // a byte a second of a megabyte
					for b := make([]byte, 1); time.Since(start) < 2*tc.limit; time.Sleep(time.Second) {
						if _, err := conn.Read(b); err != nil {
							break
						}
					}
				} else {
					<-cut
				}
				if took := time.Since(start); took > tc.limit {
					t.Errorf("held for %s, want at most %s", took, tc.limit)
				}
				conn.Close()
				srv.Close()
				<-done
			})
		})
	}
}

// raw sends bytes and returns the statuses of all answers until the server closes or says no more.
func raw(t *testing.T, addr, request string) []string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
	sent := make(chan struct{})
	go func() { _, _ = io.WriteString(conn, request); close(sent) }()
	defer func() { conn.Close(); <-sent }()
	var out []string
	in := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return out
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		out = append(out, resp.Status[:3])
	}
}

// What two servers in a row could read in two ways is refused, or read in the one way that leaves
// nothing over.
func TestSmugglingCorpus(t *testing.T) {
	s := serve(t, listen(t))
	const inner = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for name, head := range map[string]string{
		"CL and TE":             "Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"TE and CL":             "Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n",
		"two lengths":           "Content-Length: 0\r\nContent-Length: %d\r\n\r\n",
		"list of lengths":       "Content-Length: 0, %d\r\n\r\n",
		"signed length":         "Content-Length: +%d\r\n\r\n",
		"hex length":            "Content-Length: 0x%x\r\n\r\n",
		"negative length":       "Content-Length: -%d\r\n\r\n",
		"huge length":           "Content-Length: 99999999999999999999%d\r\n\r\n",
		"TE of another case":    "Content-Length: %d\r\nTransfer-Encoding: Chunked, identity\r\n\r\n0\r\n\r\n",
		"TE with tab":           "Content-Length: %d\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
		"TE with space before":  "Content-Length: %d\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"TE folded":             "Content-Length: %d\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
		"TE twice":              "Content-Length: %d\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"TE unknown":            "Content-Length: %d\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"TE with NUL":           "Content-Length: %d\r\nTransfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n",
		"length with LF only":   "X: y\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunk size overflow":   "Transfer-Encoding: chunked\r\nX: %d\r\n\r\nfffffffffffffffff\r\n",
		"chunk size negative":   "Transfer-Encoding: chunked\r\nX: %d\r\n\r\n-1\r\n",
		"chunk size rubbish":    "Transfer-Encoding: chunked\r\nX: %d\r\n\r\nzz\r\n",
		"chunk without CRLF":    "Transfer-Encoding: chunked\r\nX: %d\r\n\r\n1\r\nab\r\n0\r\n\r\n",
		"chunk extension flood": "Transfer-Encoding: chunked\r\nX: %d\r\n\r\n1;" + strings.Repeat("a", 20000) + "\r\nx\r\n0\r\n\r\n",
		"header without name":   ": %d\r\n\r\n",
		"no host":               "",
		"two hosts":             "Host: evil.example\r\nX: %d\r\n\r\n",
	} {
		s.smuggled.Store(0)
		request := "POST / HTTP/1.1\r\nHost: localhost\r\n" + head
		if strings.Contains(head, "%") {
			request = fmt.Sprintf(request, len(inner))
		}
		if name == "no host" {
			request = "POST / HTTP/1.1\r\n\r\n"
		}
		got := raw(t, s.addr, request+inner)
		if len(got) > 1 && got[0] != "200" || s.smuggled.Load() != 0 && got[0] != "200" {
			t.Errorf("%s: answers %v, the inner request came through %d times after a refusal", name, got, s.smuggled.Load())
		}
		if len(got) == 0 {
			t.Errorf("%s: no answer", name)
			continue
		}
		// Who announces both is either refused, or the chunks count and the connection ends with the answer.
		if strings.Contains(head, "Content-Length") && (s.smuggled.Load() != 0 || len(got) != 1) {
			t.Errorf("%s: answers %v and the inner request came through", name, got)
		}
	}
	if got := raw(t, s.addr, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); len(got) != 1 || got[0] != "200" {
		t.Errorf("afterwards the server answers %v", got)
	}
}

func TestOversizedHeads(t *testing.T) {
	s := serve(t, listen(t))
	for name, tc := range map[string]struct{ request, status string }{
		"10,000 headers":    {"GET / HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("X: y\r\n", 10000) + "\r\n", "431"},
		"one huge header":   {"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("y", 1<<20) + "\r\n\r\n", "431"},
		"huge URL":          {"GET /" + strings.Repeat("y", 1<<20) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", "431"},
		"huge body":         {"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("y", 1000000), "400"},
		"not HTTP":          {"\x16\x03\x01\x00\xa5\x01\r\n\r\n", "400"},
		"HTTP/0.9":          {"GET /\r\n\r\n", "400"},
		"HTTP/3.0":          {"GET / HTTP/3.0\r\nHost: localhost\r\n\r\n", "505"},
		"bad method":        {"G@T / HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		"space in the path": {"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		"bad Host":          {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400"},
	} {
		got := raw(t, s.addr, tc.request)
		if len(got) > 1 || len(got) == 1 && got[0] != tc.status { // a client that goes on writing may see the reset first
			t.Errorf("%s: answers %v, want %s", name, got, tc.status)
		}
	}
	if got := raw(t, s.addr, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); len(got) != 1 || got[0] != "200" {
		t.Errorf("afterwards the server answers %v", got)
	}
}

// Ranges that ask for the same bytes many times do not make the answer larger than the file.
func TestRangeBombs(t *testing.T) {
	s := serve(t, listen(t))
	for name, ranges := range map[string]string{
		"overlapping": strings.Repeat("0-,", 2000) + "0-",
		"tiny":        strings.Repeat("0-0,2-2,", 900) + "4-4",
		"backwards":   strings.Repeat("-1048576,", 1000) + "-1",
	} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.addr+"/file", nil)
		req.Header.Set("Range", "bytes="+ranges)
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if n > 1<<20+1<<16 {
			t.Errorf("%s: %d bytes of a file of 1 MiB", name, n)
		}
	}
}

// Streams that are opened and reset at once, over and over, do not make the server run more
// than its bound of handlers.
func TestRapidReset(t *testing.T) {
	cert, _, err := gateway.SelfSigned(t.TempDir(), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, tls.NewListener(listen(t), gateway.TLSConfig(cert)))
	conn, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	drained := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, conn); close(drained) }()
	out := bufio.NewWriterSize(conn, 64<<10)
	_, _ = io.WriteString(out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	writeFrame(out, 4, 0, 0, nil)
	headers := append([]byte{0x82, 0x87, 0x04, 5}, "/wait"...) // GET, https, :path
	headers = append(append(headers, 0x01, 9), "localhost"...) // :authority
	const storm = 20000
	sent := 0
	for ; sent < storm; sent++ {
		id := uint32(2*sent + 1)
		writeFrame(out, 1, 0x5, id, headers)                                  // HEADERS, end of headers and stream
		if err := writeFrame(out, 3, 0, id, []byte{0, 0, 0, 8}); err != nil { // RST_STREAM, CANCEL
			break
		}
	}
	_ = out.Flush()
	if highest := s.highest.Load(); highest > 64 {
		t.Errorf("%d handlers ran at once", highest)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	resp, err := client.Get("https://" + s.addr + "/")
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("another client is answered %v, %v", resp, err)
	}
	resp.Body.Close()
	conn.Close()
	<-drained
	t.Logf("%d of %d streams taken before the connection ended, %d calls reached a handler, at most %d at once", sent, storm, s.hits.Load(), s.highest.Load())
}

func writeFrame(w io.Writer, typ, flags byte, stream uint32, payload []byte) error {
	head := make([]byte, 9, 9+len(payload))
	head[0], head[1], head[2], head[3], head[4] = byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload)), typ, flags
	binary.BigEndian.PutUint32(head[5:], stream)
	_, err := w.Write(append(head, payload...))
	return err
}

// Connections beyond the bound are closed at once; those within go on working, and a place is
// free again when one ends.
func TestHoardedConnections(t *testing.T) {
	const bound = 16
	s := serve(t, gateway.Bound(listen(t), bound, bound))
	var held []net.Conn
	for range bound {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
		held = append(held, c)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Second); s.running.Load() < bound; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d are served", s.running.Load(), bound)
		}
	}
	for range 50 {
		if got := raw(t, s.addr, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); len(got) != 0 {
			t.Fatalf("one beyond the bound is answered %v", got)
		}
	}
	held[0].Close()
	for deadline := time.Now().Add(5 * time.Second); ; <-tick.C {
		if got := raw(t, s.addr, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); len(got) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of one that ended is not free")
		}
	}
}

func TestSelfSignedIsKeptAndRenewed(t *testing.T) {
	dir, now := t.TempDir(), time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	_, first, err := gateway.SelfSigned(dir, []string{"hub.lan", "10.1.2.3"}, now)
	if err != nil {
		t.Fatal(err)
	}
	c, again, err := gateway.SelfSigned(dir, nil, now.AddDate(9, 0, 0))
	if err != nil || again != first || len(strings.Split(first, ":")) != 32 {
		t.Fatalf("nine years later it is %s, %v; want %s", again, err, first)
	}
	for _, name := range []string{"localhost", "hub.lan", "10.1.2.3", "127.0.0.1"} {
		if err := c.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if _, renewed, err := gateway.SelfSigned(dir, nil, now.AddDate(9, 11, 20)); err != nil || renewed == first {
		t.Errorf("near its end it is not renewed: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, gateway.SelfSignedKey), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := gateway.SelfSigned(dir, nil, now); err == nil || !strings.Contains(err.Error(), "remove") {
		t.Errorf("a damaged key: %v, want an error that says what to do", err)
	}
}
