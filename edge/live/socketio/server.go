// Package socketio is an endpoint of Engine.IO 4 and Socket.IO 5, the protocols of
// socket.io-client 3 and 4: HTTP long-polling, WebSocket and the upgrade from one to the other,
// heartbeats, namespaces, events, acknowledgements and binary attachments in both directions.
//
// It guarantees that what is emitted to a client arrives once and in order for as long as its
// session lives, whatever the transport and also while it is upgraded; that Emit is the
// back-pressure (it waits while the client's queue is full, and ends the session of a client that
// does not take it in time); and that everything is bounded: clients, bytes per message and per
// queue, attachments, events waiting for a handler.
//
// It keeps no state beyond the connection and knows nothing of what is sent: a client that comes
// back is a new one, and what it missed is for the namespace to send again. It refuses older
// protocols (EIO=3), JSONP, compression and WebTransport.
package socketio

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/edge/live"
)

// The defaults of Options, those of the reference server where it has them.
const (
	DefaultPingInterval   = 25 * time.Second
	DefaultPingTimeout    = 20 * time.Second
	DefaultConnectTimeout = 45 * time.Second
	DefaultUpgradeTimeout = 10 * time.Second
	DefaultMaxPayload     = 1_000_000 // bytes of one message, or of one polling request
	DefaultMaxQueue       = 1 << 20
	DefaultMaxAttachments = 10
)

// maxWaiting bounds the events of a socket that wait for its handler; then its client waits.
const maxWaiting = 256

// Options of New. The zero value has the defaults.
type Options struct {
	PingInterval   time.Duration // between the answer to a ping and the next ping; below the 30 s idle limit of common proxies
	PingTimeout    time.Duration // a client that has not answered a ping by then is gone
	ConnectTimeout time.Duration // a client that has not connected to a namespace by then is closed
	UpgradeTimeout time.Duration // for the two steps of an upgrade
	WriteTimeout   time.Duration // a client that does not take a message by then is closed; 0 = live.DefaultWriteTimeout

	MaxPayload     int // bytes of a message from a client; a handshake tells it
	MaxQueue       int // bytes waiting for one client, unless a single message is larger
	MaxAttachments int // of one event

	Clients *live.Clients // shared bound of live clients; nil = an own one of live.DefaultMaxClients
	Origins []string      // WebSocket: host patterns of pages allowed besides the request's own host
	Log     *slog.Logger  // nil = silent
}

func (o Options) withDefaults() Options {
	for field, value := range map[*time.Duration]time.Duration{
		&o.PingInterval: DefaultPingInterval, &o.PingTimeout: DefaultPingTimeout, &o.ConnectTimeout: DefaultConnectTimeout,
		&o.UpgradeTimeout: DefaultUpgradeTimeout, &o.WriteTimeout: live.DefaultWriteTimeout,
	} {
		if *field <= 0 {
			*field = value
		}
	}
	for field, value := range map[*int]int{&o.MaxPayload: DefaultMaxPayload, &o.MaxQueue: DefaultMaxQueue, &o.MaxAttachments: DefaultMaxAttachments} {
		if *field <= 0 {
			*field = value
		}
	}
	if o.Clients == nil {
		o.Clients = live.NewClients(0)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Namespace is what a server offers under a name. Its functions may be called from many
// goroutines, for one socket only as it is said of each. All but Connect may be nil.
type Namespace struct {
	// Connect admits a client and returns the id by which the client can resume; with an empty
	// one it cannot. An error is a connect error: its text, or what a *Refused says. Nothing may
	// be emitted before it returns.
	Connect func(ctx context.Context, k *Socket) (pid string, err error)

	// Run is called once a client is connected, in a goroutine of its own; ctx ends with the
	// connection, which waits for it.
	Run func(ctx context.Context, k *Socket)

	// Events takes the events that have arrived, in order, never empty. It is not called again
	// for the same socket before it returns; that is the back-pressure.
	Events func(ctx context.Context, k *Socket, evs []Event)
}

// Refused is a connect error with data for the client.
type Refused struct {
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

// Error is the message.
func (e *Refused) Error() string { return e.Message }

// Server serves clients at one path, usually /socket.io/, by GET and POST. Its methods may be
// called from many goroutines.
type Server struct {
	opts       Options
	namespaces map[string]Namespace

	mu        sync.Mutex // guards what follows
	sessions  map[string]*session
	strangers int // sessions that have never connected to a namespace: nobody knows whose they are
}

// mostStrangers is how many clients may be there that have not said who they are: half of all, so
// that they cannot take the places of those who have.
func (s *Server) mostStrangers() int { return (s.opts.Clients.Max() + 1) / 2 }

// welcome counts one more stranger, unless there are too many.
func (s *Server) welcome() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.strangers >= s.mostStrangers() {
		return false
	}
	s.strangers++
	return true
}

// known counts one stranger less.
func (s *Server) known() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strangers--
}

// New makes a server of these namespaces by name; the main one is "/". Closing Options.Clients
// ends its clients.
func New(namespaces map[string]Namespace, o Options) *Server {
	return &Server{opts: o.withDefaults(), namespaces: namespaces, sessions: map[string]*session{}}
}

// Len is the number of clients now.
func (s *Server) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// ServeHTTP takes a handshake, a poll, a post or a WebSocket.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	transport, sid := q.Get("transport"), q.Get("sid")
	switch {
	case transport != "polling" && transport != "websocket":
		refuse(w, unknownTransport)
	case q.Get("EIO") != "4":
		refuse(w, unsupportedVersion)
	case sid != "":
		s.existing(w, r, transport, sid)
	case r.Method != http.MethodGet:
		refuse(w, badMethod)
	case transport == "websocket" && !isUpgrade(r):
		refuse(w, badRequest)
	default:
		s.handshake(w, r, transport == "websocket")
	}
}

// existing serves a request of a session.
func (s *Server) existing(w http.ResponseWriter, r *http.Request, transport, sid string) {
	s.mu.Lock()
	ses := s.sessions[sid]
	s.mu.Unlock()
	switch {
	case ses == nil:
		refuse(w, unknownSession)
	case transport == "websocket" && isUpgrade(r):
		ses.upgrade(w, r)
	case transport == "websocket":
		refuse(w, badRequest)
	case r.Method == http.MethodGet:
		ses.get(w, r)
	case r.Method == http.MethodPost:
		ses.post(w, r)
	default:
		refuse(w, badRequest)
	}
}

func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// open is the data of the packet that opens a session; times in milliseconds.
type open struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int64    `json:"pingInterval"`
	PingTimeout  int64    `json:"pingTimeout"`
	MaxPayload   int      `json:"maxPayload"`
}

func (s *Server) handshake(w http.ResponseWriter, r *http.Request, socket bool) {
	ses, ok := s.open(r, socket)
	if !ok {
		w.Header().Set("Retry-After", "10")
		refuse(w, tooMany)
		return
	}
	if socket {
		ses.accept(w, r)
		return
	}
	ses.get(w, r)
}

// open admits a client; its first packet is in its queue.
func (s *Server) open(r *http.Request, socket bool) (*session, bool) {
	if !s.welcome() {
		return nil, false
	}
	ctx, leave, ok := s.opts.Clients.Enter(context.WithoutCancel(r.Context()))
	if !ok {
		s.known()
		return nil, false
	}
	hello := open{
		SID: rand.Text(), Upgrades: []string{"websocket"}, MaxPayload: s.opts.MaxPayload,
		PingInterval: s.opts.PingInterval.Milliseconds(), PingTimeout: s.opts.PingTimeout.Milliseconds(),
	}
	if socket {
		hello.Upgrades = []string{}
	}
	first, _ := json.Marshal(hello) // strings and numbers cannot fail
	ses := newSession(s, hello.SID, r, ctx, leave)
	ses.out = []packet{{kind: openPacket, data: first}}
	s.mu.Lock()
	s.sessions[ses.id] = ses
	s.mu.Unlock()
	ses.start(socket)
	return ses, true
}

func (s *Server) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, id)
}
