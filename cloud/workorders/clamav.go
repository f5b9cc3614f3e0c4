package workorders

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"
)

// The bounds of one scan.
const (
	scanTimeout = 2 * time.Minute
	scanChunk   = 64 << 10
	maxVerdict  = 1024
)

// clamdAddress reads tcp://HOST:PORT or unix:PATH; empty is no scanner.
func clamdAddress(s string) (network, address string, err error) {
	if s == "" {
		return "", "", nil
	}
	if p, ok := strings.CutPrefix(s, "unix:"); ok && strings.HasPrefix(strings.TrimPrefix(p, "//"), "/") {
		return "unix", strings.TrimPrefix(p, "//"), nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "tcp" || u.Port() == "" || u.Hostname() == "" {
		return "", "", fmt.Errorf("scanner %q: want tcp://HOST:PORT or unix:/PATH", s)
	}
	return "tcp", u.Host, nil
}

// scan has clamd look at a file, by its command INSTREAM. signature is what was found, empty when
// it is clean; an error says nothing about the file.
func scan(ctx context.Context, clamd string, file io.Reader) (signature string, err error) {
	network, address, err := clamdAddress(clamd)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return "", fmt.Errorf("reach scanner: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	// clamd answers and closes early when a file is larger than its own limit; then the answer
	// tells more than the failing write.
	sent := stream(conn, file)
	verdict, err := bufio.NewReader(io.LimitReader(conn, maxVerdict)).ReadString(0)
	if err != nil && (!errors.Is(err, io.EOF) || verdict == "") {
		return "", errors.Join(sent, fmt.Errorf("read scanner's answer: %w", err))
	}
	return readVerdict(verdict, sent)
}

// stream sends a file in pieces, each with its length before it, and an empty one at the end.
func stream(w io.Writer, file io.Reader) error {
	if _, err := io.WriteString(w, "zINSTREAM\x00"); err != nil {
		return fmt.Errorf("send to scanner: %w", err)
	}
	buf := make([]byte, 4+scanChunk)
	for {
		n, err := io.ReadFull(file, buf[4:])
		if n > 0 {
			binary.BigEndian.PutUint32(buf, uint32(n))
			if _, werr := w.Write(buf[:4+n]); werr != nil {
				return fmt.Errorf("send to scanner: %w", werr)
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read attachment: %w", err)
		}
	}
	if _, err := w.Write([]byte{0, 0, 0, 0}); err != nil {
		return fmt.Errorf("send to scanner: %w", err)
	}
	return nil
}

// readVerdict reads "stream: OK", "stream: NAME FOUND" or "… ERROR". A file is clean only when all
// of it was sent.
func readVerdict(s string, sent error) (signature string, err error) {
	s = strings.TrimSpace(strings.TrimRight(s, "\x00\n"))
	body, ok := strings.CutPrefix(s, "stream: ")
	if found, bad := strings.CutSuffix(body, " FOUND"); ok && bad && found != "" {
		return found, nil
	}
	if ok && body == "OK" {
		return "", sent
	}
	return "", fmt.Errorf("scanner answers %q", s)
}

// CheckScanner tells what is wrong with the address of a scanner; empty is none.
func CheckScanner(address string) error {
	_, _, err := clamdAddress(address)
	return err
}
