package main

import (
	"io"
	"net"
	"sync"
)

// relay is the line between hub and cloud, which the demo cuts and restores: it passes TCP
// connections on to the target, or, while it is cut, ends them and takes none.
type relay struct {
	ln     net.Listener
	target string

	mu    sync.Mutex
	open  bool
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

func newRelay(target string) (*relay, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{ln: ln, target: target, open: true, conns: map[net.Conn]bool{}}
	r.wg.Go(r.accept)
	return r, nil
}

func (r *relay) addr() string { return r.ln.Addr().String() }

func (r *relay) up() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

func (r *relay) accept() {
	for {
		in, err := r.ln.Accept()
		if err != nil {
			return
		}
		if !r.keep(in) {
			continue
		}
		out, err := net.Dial("tcp", r.target)
		if err != nil || !r.keep(out) {
			in.Close()
			continue
		}
		r.wg.Go(func() { r.pass(in, out) })
		r.wg.Go(func() { r.pass(out, in) })
	}
}

// keep remembers a connection, or ends it when the line is cut.
func (r *relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.open {
		c.Close()
		return false
	}
	r.conns[c] = true
	return true
}

func (r *relay) pass(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	to.Close()
	from.Close()
	r.mu.Lock()
	delete(r.conns, to)
	delete(r.conns, from)
	r.mu.Unlock()
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = false
	for c := range r.conns {
		c.Close()
	}
}

func (r *relay) restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = true
}

func (r *relay) close() {
	r.ln.Close()
	r.cut()
	r.wg.Wait()
}
