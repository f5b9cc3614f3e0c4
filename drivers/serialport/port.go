// Package serialport opens serial ports by identity, keeps them to itself and opens them again
// after they were unplugged. It is the only importer of go.bug.st/serial.
//
// It guarantees: a Read ends with its context; a Write ends at its deadline even when the other
// side takes nothing; Close never pulls a descriptor from under a reader; two daemons do not
// share a port. It refuses to guess a port: an identity that fits two is an error.
package serialport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.bug.st/serial"
)

// What may be wrong with a port; test with errors.Is.
var (
	ErrNotFound   = errors.New("serial port not found")
	ErrPermission = errors.New("no permission for serial port")
	ErrBusy       = errors.New("serial port busy")
	ErrClosed     = errors.New("serial port closed")
	ErrStuck      = errors.New("serial port takes no more bytes")
)

// writeWithin bounds a Write: 4 KiB take 4.3 s at 9600 baud.
const writeWithin = 5 * time.Second

// Mode is how bytes travel: the zero value is 115200 baud, 8 data bits, no parity, 1 stop bit.
type Mode struct {
	Baud     int    // bits per second; 0 = 115200
	DataBits int    // 5..8; 0 = 8
	Parity   string // "none", "odd", "even"; empty = none
	StopBits int    // 1 or 2; 0 = 1
}

func (m Mode) native() (*serial.Mode, error) {
	n := &serial.Mode{BaudRate: m.Baud, DataBits: m.DataBits}
	if n.BaudRate == 0 {
		n.BaudRate = 115200
	}
	if n.DataBits == 0 {
		n.DataBits = 8
	}
	switch m.Parity {
	case "", "none":
	case "odd":
		n.Parity = serial.OddParity
	case "even":
		n.Parity = serial.EvenParity
	default:
		return nil, fmt.Errorf("parity %q: want none, odd or even", m.Parity)
	}
	switch m.StopBits {
	case 0, 1:
	case 2:
		n.StopBits = serial.TwoStopBits
	default:
		return nil, fmt.Errorf("stop_bits %d: want 1 or 2", m.StopBits)
	}
	if n.BaudRate < 50 || n.BaudRate > 4_000_000 {
		return nil, fmt.Errorf("baud %d: want 50 to 4000000", n.BaudRate)
	}
	if n.DataBits < 5 || n.DataBits > 8 {
		return nil, fmt.Errorf("data_bits %d: want 5 to 8", n.DataBits)
	}
	return n, nil
}

// Check tells what is wrong with the mode, without touching a port.
func (m Mode) Check() error {
	_, err := m.native()
	return err
}

// Port is an open serial port. One goroutine may read while another writes; Close may be called
// from any and more than once.
type Port struct {
	path    string
	port    serial.Port
	side    *side
	reading sync.Mutex
	closing context.Context // ends when Close begins
	stop    context.CancelFunc
	once    sync.Once
	err     error
}

// Open finds the port that id names, as it is plugged now, and opens it for this process alone.
func Open(id Identity, m Mode) (*Port, error) {
	mode, err := m.native()
	if err != nil {
		return nil, err
	}
	path, err := id.Find()
	if err != nil {
		return nil, err
	}
	side, err := openSide(path)
	if err != nil {
		return nil, explain(path, err)
	}
	sp, err := serial.Open(path, mode)
	if err != nil {
		_ = side.Close()
		return nil, explain(path, err)
	}
	p := &Port{path: path, port: sp, side: side}
	p.closing, p.stop = context.WithCancel(context.Background())
	return p, nil
}

// Path is the device file the port was opened by.
func (p *Port) Path() string { return p.path }

// Read blocks until there is at least one byte, the port is lost, or ctx ends.
func (p *Port) Read(ctx context.Context, b []byte) (int, error) {
	p.reading.Lock()
	defer p.reading.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.closing, cancel)()
	n, err := p.side.read(ctx, p.port, b)
	switch {
	case p.closing.Err() != nil:
		return n, fmt.Errorf("read %s: %w", p.path, ErrClosed)
	case err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		return n, fmt.Errorf("read %s: port lost (unplugged?): %w", p.path, err)
	}
	return n, err
}

// Write sends b. When the other side does not take it within 5 s it gives up with ErrStuck and
// the number of bytes taken; nothing stays blocked behind it.
func (p *Port) Write(b []byte) (int, error) {
	if p.closing.Err() != nil {
		return 0, fmt.Errorf("write %s: %w", p.path, ErrClosed)
	}
	n, err := p.side.write(p.port, b, writeWithin)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, fmt.Errorf("write %s: %w: %d of %d bytes in %v", p.path, ErrStuck, n, len(b), writeWithin)
	case err != nil:
		return n, fmt.Errorf("write %s: %w", p.path, err)
	}
	return n, nil
}

// Discard throws away what was received but not read: what piled up before the port was opened.
func (p *Port) Discard() error { return p.port.ResetInputBuffer() }

// Close lets a running Read end, then closes the port and gives it free for others.
func (p *Port) Close() error {
	p.once.Do(func() {
		p.stop()
		p.reading.Lock()
		defer p.reading.Unlock()
		p.err = errors.Join(p.port.Close(), p.side.Close())
	})
	return p.err
}

// explain says what is wrong with a port and what to do.
func explain(path string, err error) error {
	code := serial.PortErrorCode(-1)
	var pe *serial.PortError
	if errors.As(err, &pe) {
		code = pe.Code()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.ENODEV), code == serial.PortNotFound:
		return fmt.Errorf("%w: %s is not there; plug the adapter in or correct the port; %s", ErrNotFound, path, present())
	case errors.Is(err, fs.ErrPermission), code == serial.PermissionDenied:
		return fmt.Errorf("%w: %s; add the hub's user to the port's group (usually dialout: usermod -aG dialout headcount) and start the hub again", ErrPermission, path)
	case errors.Is(err, syscall.EBUSY), errors.Is(err, errLocked), code == serial.PortBusy:
		return fmt.Errorf("%w: another program has %s open; stop it (fuser %s names it)", ErrBusy, path, path)
	case code == serial.InvalidSerialPort:
		return fmt.Errorf("%s is not a serial port: %w", path, err)
	}
	return fmt.Errorf("open %s: %w", path, err)
}

// present lists the ports that are there, for messages.
func present() string {
	infos, err := List()
	if err != nil || len(infos) == 0 {
		return "no serial port is present"
	}
	names := make([]string, len(infos))
	for i, in := range infos {
		names[i] = in.String()
	}
	return "present: " + strings.Join(names, ", ")
}
