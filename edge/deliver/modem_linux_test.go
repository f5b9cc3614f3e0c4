package deliver_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/headcount-hub/headcount/edge/deliver"
)

// modem is a GSM modem on a pseudo terminal.
type modem struct {
	mu     sync.Mutex
	sent   []string // "number: text"
	locked bool     // the SIM wants 1234
	silent bool
	answer string // to a text; empty = +CMGS and OK
	line   string // path
}

// newModem starts a modem that talks until the test ends.
func newModem(t *testing.T) (*modem, *os.File) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	m := &modem{line: slave.Name()}
	done := make(chan struct{})
	go func() { defer close(done); m.talk(master) }()
	t.Cleanup(func() { slave.Close(); master.Close(); <-done })
	return m, slave
}

// talk answers commands until the line is closed. It echoes until it is told not to.
func (m *modem) talk(line io.ReadWriter) {
	buf, in, number, echo := make([]byte, 256), "", "", true
	for {
		n, err := line.Read(buf)
		if err != nil {
			return
		}
		in += string(buf[:n])
		m.mu.Lock()
		for {
			if number != "" {
				text, rest, ok := strings.Cut(in, "\x1a")
				if !ok {
					break
				}
				m.sent = append(m.sent, number+": "+text)
				number, in = "", rest
				if m.answer == "" {
					io.WriteString(line, "\r\n+CMGS: 7\r\n\r\nOK\r\n")
				} else {
					io.WriteString(line, "\r\n"+m.answer+"\r\n")
				}
				continue
			}
			command, rest, ok := strings.Cut(strings.ReplaceAll(in, "\n", "\r"), "\r")
			if !ok {
				break
			}
			in = rest
			if m.silent || command == "" {
				continue
			}
			if echo {
				io.WriteString(line, command+"\r")
			}
			switch {
			case command == "ATE0":
				echo = false
				io.WriteString(line, "\r\nOK\r\n")
			case command == "AT+CPIN?" && m.locked:
				io.WriteString(line, "\r\n+CPIN: SIM PIN\r\n\r\nOK\r\n")
			case command == "AT+CPIN?":
				io.WriteString(line, "\r\n+CPIN: READY\r\n\r\nOK\r\n")
			case strings.HasPrefix(command, "AT+CPIN="):
				m.locked = command != `AT+CPIN="1234"`
				io.WriteString(line, map[bool]string{true: "\r\n+CME ERROR: 16\r\n", false: "\r\nOK\r\n"}[m.locked])
			case strings.HasPrefix(command, "AT+CMGS="):
				number = strings.Trim(strings.TrimPrefix(command, "AT+CMGS="), `"`)
				io.WriteString(line, "\r\n+CREG: 1\r\n\r\n> ") // what it says in between
			default:
				io.WriteString(line, "\r\nOK\r\n")
			}
		}
		m.mu.Unlock()
	}
}

// filePort is a file as a Port.
type filePort struct{ f *os.File }

func (p filePort) Read(ctx context.Context, b []byte) (int, error) {
	stop := context.AfterFunc(ctx, func() { _ = p.f.SetReadDeadline(time.Now()) })
	defer stop()
	n, err := p.f.Read(b)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return n, err
}
func (p filePort) Write(b []byte) (int, error) { return p.f.Write(b) }
func (p filePort) Close() error                { return p.f.Close() }

func (m *modem) channel(t *testing.T, o deliver.ModemOptions) *deliver.Modem {
	t.Helper()
	o.To = []string{"+4790000000"}
	o.Open = func() (deliver.Port, error) {
		f, err := os.OpenFile(m.line, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		if err := rawMode(f); err != nil {
			return nil, err
		}
		return filePort{f}, nil
	}
	c, err := deliver.NewModem(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTextMessageByModem(t *testing.T) {
	m, _ := newModem(t)
	c := m.channel(t, deliver.ModemOptions{})
	msg := deliver.Message{Key: "k", Type: "x", Words: deliver.Words{Title: "[critical] HQ: Hall is crowded"}}
	if err := c.Deliver(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	msg.Title = "Größe"
	if err := c.Deliver(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.sent) != 2 || !strings.Contains(m.sent[0], "Hall is crowded") {
		t.Fatalf("sent %q", m.sent)
	}
	if want := "002B0034003700390030003000300030003000300030: 0047007200F600DF0065"; m.sent[1] != want {
		t.Errorf("sent %q, want UCS-2 %q", m.sent[1], want)
	}
}

func TestModemThatWantsAPIN(t *testing.T) {
	m, _ := newModem(t)
	m.locked = true
	msg := deliver.Message{Key: "k", Type: "x", Words: deliver.Words{Title: "hello"}}
	if err := m.channel(t, deliver.ModemOptions{}).Deliver(t.Context(), msg); !errors.Is(err, deliver.ErrRefused) || !strings.Contains(err.Error(), "pin_file") {
		t.Errorf("without a PIN: %v", err)
	}
	if err := m.channel(t, deliver.ModemOptions{PIN: "9999"}).Deliver(t.Context(), msg); !errors.Is(err, deliver.ErrRefused) {
		t.Errorf("with a wrong PIN: %v, want no other try: three lock the SIM", err)
	}
	if err := m.channel(t, deliver.ModemOptions{PIN: "1234"}).Deliver(t.Context(), msg); err != nil || len(m.sent) != 1 {
		t.Errorf("with the PIN: %v, sent %q", err, m.sent)
	}
}

func TestModemThatFails(t *testing.T) {
	m, _ := newModem(t)
	msg := deliver.Message{Key: "k", Type: "x", Words: deliver.Words{Title: "hello"}}
	m.answer = "+CMS ERROR: 331"
	if err := m.channel(t, deliver.ModemOptions{}).Deliver(t.Context(), msg); err == nil || errors.Is(err, deliver.ErrRefused) || !strings.Contains(err.Error(), "331") {
		t.Errorf("no network: %v, want another try", err)
	}
	m.mu.Lock()
	m.silent = true
	m.mu.Unlock()
	begin := time.Now()
	if err := m.channel(t, deliver.ModemOptions{Timeout: 200 * time.Millisecond}).Deliver(t.Context(), msg); err == nil || time.Since(begin) > 5*time.Second {
		t.Errorf("a silent modem: %v after %v", err, time.Since(begin))
	}
}

// noise is a port that says what a fuzzer thinks of.
type noise struct{ says []byte }

func (n *noise) Read(_ context.Context, b []byte) (int, error) {
	if len(n.says) == 0 {
		return 0, io.EOF
	}
	k := copy(b, n.says)
	n.says = n.says[k:]
	return k, nil
}
func (n *noise) Write(b []byte) (int, error) { return len(b), nil }
func (n *noise) Close() error                { return nil }

func FuzzModem(f *testing.F) {
	f.Add([]byte("OK\r\nOK\r\n+CPIN: READY\r\nOK\r\nOK\r\nOK\r\nOK\r\n> +CMGS: 1\r\nOK\r\n"))
	f.Fuzz(func(t *testing.T, says []byte) {
		c, err := deliver.NewModem(deliver.ModemOptions{To: []string{"+4790000000"}, Open: func() (deliver.Port, error) { return &noise{says}, nil }})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Deliver(t.Context(), deliver.Message{Key: "k", Type: "x", Words: deliver.Words{Title: "hello"}}) // must end
	})
}
