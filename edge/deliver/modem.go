package deliver

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf16"
)

// Port is a serial line. A Read ends with its context.
type Port interface {
	Read(ctx context.Context, b []byte) (int, error)
	Write(b []byte) (int, error)
	Close() error
}

// ModemOptions say by which modem text messages are sent.
type ModemOptions struct {
	Open    func() (Port, error) // opens the line for one message; required
	To      []string             // numbers, such as +4790000000
	PIN     string               // of the SIM; empty = it needs none
	Timeout time.Duration        // of one message; 0 = 60 s: networks are slow
}

const modemTimeout = time.Minute

// Modem is a channel that sends text messages by AT commands in text mode, such as through a GSM
// stick at the hub while the internet is away.
type Modem struct {
	o  ModemOptions
	mu sync.Mutex // one conversation at a time
}

// NewModem makes a modem channel.
func NewModem(o ModemOptions) (*Modem, error) {
	if err := checkNumbers(o.To); err != nil {
		return nil, err
	}
	if o.PIN != "" && (len(o.PIN) < 4 || len(o.PIN) > 8 || strings.Trim(o.PIN, "0123456789") != "") {
		return nil, errors.New("sms: the PIN has 4 to 8 digits")
	}
	if o.Timeout <= 0 {
		o.Timeout = modemTimeout
	}
	return &Modem{o: o}, nil
}

// Deliver is Channel. With several numbers, all get it again when one of them failed.
func (m *Modem) Deliver(ctx context.Context, msg Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, m.o.Timeout)
	defer cancel()
	port, err := m.o.Open()
	if err != nil {
		return fmt.Errorf("sms modem: %w", err)
	}
	defer port.Close()
	c := &conversation{port: port}
	if err := c.prepare(ctx, m.o.PIN); err != nil {
		return fmt.Errorf("sms modem: %w", err)
	}
	text := smsText(msg.words())
	for _, to := range recipients(msg, m.o.To) {
		if err := c.send(ctx, to, text); err != nil {
			return fmt.Errorf("sms modem: %w", err)
		}
	}
	return nil
}

// conversation is what is said on a line.
type conversation struct {
	port Port
	left []byte // received and not yet read
}

// maxLine bounds a line of a modem; a longer one is noise.
const maxLine = 1024

// prepare makes the modem answer plainly, unlocks the SIM and chooses text mode.
func (c *conversation) prepare(ctx context.Context, pin string) error {
	for _, command := range []string{"AT", "ATE0"} {
		if _, err := c.ask(ctx, command); err != nil {
			return fmt.Errorf("it does not answer: %w", err)
		}
	}
	lines, err := c.ask(ctx, "AT+CPIN?")
	if err != nil {
		return fmt.Errorf("no SIM: %w", err)
	}
	if strings.Contains(strings.Join(lines, " "), "SIM PIN") {
		if pin == "" {
			return fmt.Errorf("%w: the SIM wants a PIN: set pin_file", ErrRefused)
		}
		if _, err := c.ask(ctx, `AT+CPIN="`+pin+`"`); err != nil { // a second try could lock the SIM
			return fmt.Errorf("%w: the SIM does not take the PIN: %w", ErrRefused, err)
		}
	}
	_, err = c.ask(ctx, "AT+CMGF=1")
	return err
}

// send sends one text: as it is when it is plain ASCII, else as UCS-2.
func (c *conversation) send(ctx context.Context, to, text string) error {
	commands := []string{`AT+CSCS="IRA"`, "AT+CSMP=17,167,0,0"}
	if ucs2 := !plainASCII(text); ucs2 {
		commands = []string{`AT+CSCS="UCS2"`, "AT+CSMP=17,167,0,8"}
		to, text = ucs2Hex(to, 20), ucs2Hex(text, 70)
	} else if len(text) > 160 {
		text = text[:160]
	}
	for _, command := range commands {
		if _, err := c.ask(ctx, command); err != nil {
			return err
		}
	}
	if err := c.write("AT+CMGS=\"" + to + "\"\r"); err != nil {
		return err
	}
	if _, err := c.until(ctx, true); err != nil {
		return err
	}
	if err := c.write(text + "\x1a"); err != nil {
		return err
	}
	_, err := c.until(ctx, false)
	return err
}

// plainASCII tells whether the modem can send s from the character set IRA; the network has no
// backquote.
func plainASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > '~' || r < ' ' && r != '\n' || r == '`' })
}

// ucs2Hex is at most n UTF-16 units of s in hexadecimal.
func ucs2Hex(s string, n int) string {
	units := utf16.Encode([]rune(s))
	units = units[:min(len(units), n)]
	b := make([]byte, 0, 2*len(units))
	for _, u := range units {
		b = append(b, byte(u>>8), byte(u))
	}
	return strings.ToUpper(hex.EncodeToString(b))
}

func (c *conversation) write(s string) error {
	_, err := c.port.Write([]byte(s))
	return err
}

// ask sends a command and returns the lines before OK.
func (c *conversation) ask(ctx context.Context, command string) ([]string, error) {
	if err := c.write(command + "\r"); err != nil {
		return nil, err
	}
	return c.until(ctx, false)
}

// until reads lines up to OK, or up to the prompt for a text.
func (c *conversation) until(ctx context.Context, prompt bool) ([]string, error) {
	var lines []string
	for {
		if prompt && bytes.HasPrefix(bytes.TrimLeft(c.left, "\r\n"), []byte(">")) {
			c.left = nil
			return lines, nil
		}
		line, ok, err := c.line(ctx)
		switch {
		case err != nil:
			return nil, err
		case !ok || line == "":
		case line == "OK":
			return lines, nil
		case line == "ERROR" || strings.HasPrefix(line, "+CMS ERROR") || strings.HasPrefix(line, "+CME ERROR"):
			return nil, fmt.Errorf("the modem answers %s", line)
		case len(lines) < 100: // a modem talks of calls and networks in between
			lines = append(lines, line)
		}
	}
}

// line returns the next whole line; ok is false when more has been read but no line is whole.
func (c *conversation) line(ctx context.Context) (line string, ok bool, err error) {
	if i := bytes.IndexAny(c.left, "\r\n"); i >= 0 {
		line, c.left = string(bytes.TrimSpace(c.left[:i])), c.left[i+1:]
		return line, true, nil
	}
	if len(c.left) > maxLine {
		c.left = nil
	}
	buf := make([]byte, 256)
	n, err := c.port.Read(ctx, buf)
	c.left = append(c.left, buf[:n]...)
	if err != nil {
		return "", false, fmt.Errorf("no answer: %w", err)
	}
	return "", false, nil
}
