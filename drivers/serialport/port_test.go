package serialport

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plug makes a pty and a link to its port, as /dev/serial/by-id has, and gives back the end of
// the device.
func plug(t testing.TB, link string) *os.File {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatalf("open pty: %v", err)
	}
	defer slave.Close()
	if err := os.Symlink(slave.Name(), link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	return master
}

func unplug(t testing.TB, master *os.File, link string) {
	t.Helper()
	if err := errors.Join(os.Remove(link), master.Close()); err != nil {
		t.Fatalf("unplug: %v", err)
	}
}

func TestBytesTravelBothWays(t *testing.T) {
	link := filepath.Join(t.TempDir(), "port")
	master := plug(t, link)
	p, err := Open(Identity{Path: link}, Mode{Baud: 9600})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	if _, err := master.Write([]byte("\x00\xffa\r\n\x03")); err != nil {
		t.Fatal(err)
	}
	var got []byte
	buf := make([]byte, 64)
	for len(got) < 6 {
		n, err := p.Read(ctx, buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	if string(got) != "\x00\xffa\r\n\x03" {
		t.Errorf("read %q, want the bytes as they were sent", got)
	}
	if n, err := p.Write([]byte("ok\n")); n != 3 || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
	if _, err := io.ReadFull(master, buf[:3]); err != nil || string(buf[:3]) != "ok\n" {
		t.Errorf("the device read %q, %v; want ok", buf[:3], err)
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	link := filepath.Join(t.TempDir(), "port")
	plug(t, link)
	p, err := Open(Identity{Path: link}, Mode{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := p.Read(ctx, make([]byte, 8)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read: %v, want the context's end", err)
	}
}

func TestUnplugEndsARead(t *testing.T) {
	link := filepath.Join(t.TempDir(), "port")
	master := plug(t, link)
	p, err := Open(Identity{Path: link}, Mode{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	res := make(chan error, 1)
	go func() {
		_, err := p.Read(context.Background(), make([]byte, 8))
		res <- err
	}()
	unplug(t, master, link)
	select {
	case err := <-res:
		if err == nil || !strings.Contains(err.Error(), "unplugged") {
			t.Errorf("read: %v, want port lost", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("read still blocked 5 s after the port went")
	}
}

func TestStuckWriteGivesUp(t *testing.T) {
	link := filepath.Join(t.TempDir(), "port")
	plug(t, link) // nobody reads the other end
	p, err := Open(Identity{Path: link}, Mode{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	big := make([]byte, 1<<20)
	n, err := p.side.write(p.port, big, 50*time.Millisecond)
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == len(big) {
		t.Errorf("write: %d, %v; want a part and a deadline", n, err)
	}
}

func TestPortIsExclusive(t *testing.T) {
	link := filepath.Join(t.TempDir(), "port")
	plug(t, link)
	p, err := Open(Identity{Path: link}, Mode{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Identity{Path: link}, Mode{}); !errors.Is(err, ErrBusy) {
		t.Errorf("second open: %v, want ErrBusy", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(Identity{Path: link}, Mode{})
	if err != nil {
		t.Fatalf("open after close: %v", err)
	}
	again.Close()
}

func TestCloseWaitsForTheReader(t *testing.T) {
	link := filepath.Join(t.TempDir(), "port")
	plug(t, link)
	p, err := Open(Identity{Path: link}, Mode{})
	if err != nil {
		t.Fatal(err)
	}
	res := make(chan error, 1)
	go func() {
		_, err := p.Read(context.Background(), make([]byte, 8))
		res <- err
	}()
	for p.reading.TryLock() { // until the reader is in
		p.reading.Unlock()
		runtime.Gosched()
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-res; !errors.Is(err, ErrClosed) {
		t.Errorf("read: %v, want ErrClosed", err)
	}
	if _, err := p.Write([]byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("write after close: %v, want ErrClosed", err)
	}
}

func TestOpenSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		id   Identity
		is   error
		says string
	}{
		"no such path":     {Identity{Path: filepath.Join(dir, "none")}, ErrNotFound, "plug the adapter in"},
		"no such adapter":  {Identity{VID: "FFFE", PID: "0001", Serial: "nowhere"}, ErrNotFound, "usb FFFE:0001 serial nowhere"},
		"a plain file":     {Identity{Path: file}, nil, "not a serial port"},
		"a device, no tty": {Identity{Path: os.DevNull}, nil, "not a serial port"},
		"nothing":          {Identity{}, nil, "port is missing"},
	} {
		_, err := Open(c.id, Mode{})
		if err == nil || (c.is != nil && !errors.Is(err, c.is)) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %q (%v)", name, err, c.says, c.is)
		}
	}
	if err := explain("/dev/ttyUSB0", os.ErrPermission); !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "dialout") {
		t.Errorf("permission: %v, want the group named", err)
	}
}

func TestModeIsChecked(t *testing.T) {
	for _, m := range []Mode{{Baud: -1}, {Baud: 1e9}, {DataBits: 9}, {Parity: "maybe"}, {StopBits: 3}} {
		if m.Check() == nil {
			t.Errorf("mode %+v passes", m)
		}
	}
	if err := (Mode{}).Check(); err != nil {
		t.Errorf("zero mode: %v", err)
	}
}

func TestIdentityInJSON(t *testing.T) {
	for in, want := range map[string]Identity{
		`"/dev/ttyUSB0"`: {Path: "/dev/ttyUSB0"},
		`{"vid":"0403","pid":"6001","serial":"FT3X"}`: {VID: "0403", PID: "6001", Serial: "FT3X"},
		`{"vid":"0403"}`: {VID: "0403"},
	} {
		var id Identity
		if err := json.Unmarshal([]byte(in), &id); err != nil || id != want {
			t.Errorf("%s: %+v, %v; want %+v", in, id, err, want)
		}
		out, err := json.Marshal(id)
		if err != nil || string(out) != in {
			t.Errorf("marshal %+v: %s, %v; want %s", id, out, err, in)
		}
	}
	for _, in := range []string{`""`, `{}`, `{"vid":403}`, `{"vid":"403"}`, `{"vid":"0403","pid":"x"}`, `{"vid":"0403","name":"x"}`, `7`} {
		var id Identity
		if err := json.Unmarshal([]byte(in), &id); err == nil {
			t.Errorf("%s passes as %+v", in, id)
		}
	}
}

// TestKeepComesBack unplugs and plugs many times, each time under another number.
func TestKeepComesBack(t *testing.T) {
	const cycles = 100
	link := filepath.Join(t.TempDir(), "port")
	statuses := make(chan bool, 10*cycles)
	got := make(chan byte)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		k := Keeper{ID: Identity{Path: link}, Reopen: time.Millisecond}
		done <- k.Keep(ctx, func(up bool, _ string) { statuses <- up }, func(ctx context.Context, p *Port) error {
			for {
				b := make([]byte, 1)
				if _, err := p.Read(ctx, b); err != nil {
					return err
				}
				got <- b[0]
			}
		})
	}()
	// Whatever happens in a cycle, the next status of the wanted kind is waited for.
	next := func(up bool) {
		t.Helper()
		late := time.After(10 * time.Second)
		for {
			select {
			case got := <-statuses:
				if got == up {
					return
				}
			case <-late:
				t.Fatalf("no status up=%v", up)
			}
		}
	}
	before := 0
	for i := range cycles {
		master := plug(t, link)
		next(true)
		if _, err := master.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		if b := <-got; b != byte(i) {
			t.Fatalf("cycle %d: read %d", i, b)
		}
		unplug(t, master, link)
		next(false)
		if i == 10 {
			before = descriptors(t)
		}
		for len(statuses) > 0 {
			<-statuses
		}
	}
	if after := descriptors(t); after > before+2 {
		t.Errorf("%d descriptors after %d cycles, %d after 10", after, cycles, before)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Keep: %v, want nil when its context ends", err)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
