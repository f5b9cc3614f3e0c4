// Package config reads the hub's configuration: YAML to [Config], strictly.
//
// The JSON Schema in schema.json (draft 2020-12) is the definition of the file: what keys
// there are, their types, units and defaults. Parsing walks the YAML tree along it, so that
// every mistake is found in one go and has file, line, column, what is wrong and what to write
// instead; unknown and repeated keys are mistakes. Then the site model, the references between
// sections and the files that hold secrets are checked. What a driver's options or an alert's
// expression mean is not known here: the caller passes checks for them ([Options]).
//
// The file is never written, no network is touched, and the content of secret files is read
// only by [ReadSecret].
package config

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Config is a configuration without mistakes. It is not changed after it was loaded.
type Config struct {
	Site    edge.Site
	Inputs  []Input
	Alerts  []Alert           // the user's rules in their order, without the built-in ones
	Actions map[string]Action // by name
	Uplink  *Uplink           // nil: the hub keeps to itself
	Storage Storage
	HTTP    HTTP

	Discovery Discovery

	Telemetry *Telemetry // nil: nobody traces

	Path     string   // the file it came from
	Hash     string   // SHA-256 of the effective document, hex
	Warnings []string // what is allowed but probably not meant, each with its place

	tree   *node
	source source
}

// Input is one source of readings.
type Input struct {
	ID      string // unique; driver-N when it is not configured
	Driver  string
	Options json.RawMessage // a JSON object: the driver's own keys in the order of the file
	Pos     Position
}

// Alert is one rule as configured. ForEach, When and Severity may be empty where a built-in
// rule of the same name has them.
type Alert struct {
	Name, ForEach string
	When, Clear   string
	For, KeepFor  time.Duration
	Severity      edge.Severity
	Actions       []string
	Message       string
	Disabled      bool
	Pos           Position
}

// ActionKind says what an action does.
type ActionKind string

// The kinds of action.
const (
	LogAction     ActionKind = "log"
	WebhookAction ActionKind = "webhook"
	MailAction    ActionKind = "mail"
	NtfyAction    ActionKind = "ntfy"
	ChatAction    ActionKind = "chat"
	MQTTAction    ActionKind = "mqtt"
	SMSAction     ActionKind = "sms" // by a modem when Modem is set, else by HTTP
)

// Action is a channel that alerts can name.
type Action struct {
	Kind       ActionKind
	Webhook    string        // URL
	SecretFile string        // absolute path of the signing secret of webhooks, of {secret} in sms; may be empty; see ReadSecret
	Format     string        // of webhooks: cloudevents or alertmanager
	Timeout    time.Duration // of one attempt
	Pos        Position

	URL      string   // of ntfy, chat, mqtt and sms
	To       []string // mail addresses, numbers of sms
	Server   string   // of mail, as smtps://user@host:465
	From     string   // of mail
	Password string   // absolute path of the password of mail and mqtt, the token of ntfy, the PIN of a modem; may be empty
	CAFile   string   // absolute path of certificates to trust; may be empty
	Payload  string   // of mqtt; empty = JSON
	Retain   bool     // of mqtt
	Body     string   // of sms by HTTP
	Modem    string   // serial port of sms
	Baud     int      // of the modem
}

// Uplink is the connection to the cloud. Paths are absolute.
type Uplink struct {
	URL             string // one or more, with commas
	CredentialsFile string // may be empty
	CAFile          string // may be empty
	Org             string // empty = that of the credentials
}

// Telemetry is where traces are sent.
type Telemetry struct {
	OTLP   string  // address of a collector
	Sample float64 // share of traces begun here, 0 to 1
}

// Storage says where and how much the hub remembers.
type Storage struct {
	Dir        string        // absolute path
	MaxSize    int64         // bytes
	History    time.Duration //
	WearBudget string        // "auto", "none" or a size; see WearBytes
}

// WearBytes returns the flash-wear budget in bytes per day: 0 when there is none; auto tells
// that it depends on the kind of disk.
func (s Storage) WearBytes() (perDay int64, auto bool) {
	if s.WearBudget == "auto" || s.WearBudget == "none" || s.WearBudget == "" {
		return 0, s.WearBudget != "none"
	}
	n, _ := ParseSize(s.WearBudget) // was checked against the schema
	return n, false
}

// Discovery says how the hub is found in the local network.
type Discovery struct {
	MDNS bool // it is announced where other machines can reach it
}

// HTTP is the hub's own web server. Paths are absolute.
type HTTP struct {
	Listen      string // host:port
	TokenFile   string // may be empty only if Listen is a loopback address
	TLSCertFile string // both or neither
	TLSKeyFile  string
	PlainHTTP   bool // no self-signed certificate beyond loopback
	Hosts       []string

	TrustedProxies []string // addresses or networks
	CORSOrigins    []string
	RateLimit      RateLimit
}

// RateLimit is how often one client may ask; 0 is the default, a negative number no limit.
type RateLimit struct {
	PerSecond       float64
	Burst           int
	IngestPerSecond float64
}

// SelfSigned tells whether the server speaks TLS by a certificate that it makes itself.
func (h HTTP) SelfSigned() bool {
	return h.TLSCertFile == "" && !h.PlainHTTP && !IsLoopback(h.Listen)
}

// Position is where a value was written.
type Position struct {
	File      string
	Line, Col int    // 1-based, in characters; 0 when it was not in the file
	Env       string // the environment variable it came from instead
}

// String returns file:line:col, "environment variable X", or "default".
func (p Position) String() string {
	switch {
	case p.Env != "":
		return "environment variable " + p.Env
	case p.Line > 0:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
	}
	return "default"
}

//go:embed schema.json
var schemaJSON []byte

//go:embed example.yaml
var exampleYAML []byte

// Schema returns the JSON Schema of the configuration file.
func Schema() []byte { return append([]byte(nil), schemaJSON...) }

// Example returns an annotated configuration to start from.
func Example() []byte { return append([]byte(nil), exampleYAML...) }

// The defaults that depend on how the hub is started.
const (
	DefaultPath = "/etc/headcount/headcount.yaml"
	DefaultDir  = "/var/lib/headcount"
)

// Options are what Load and Parse need besides the file.
type Options struct {
	// Env is the environment as os.Environ gives it. It serves ${VAR} and HEADCOUNT__… .
	Env []string
	// Dir is the storage directory when the file names none; DefaultDir when empty.
	Dir string
	// CheckInput judges a driver's name and options; its error is reported at the input, or at
	// the option that the error quotes. Nil accepts all.
	CheckInput func(driver string, options json.RawMessage) error
	// CheckSensor judges a sensor's parameters; its error is reported at them. Nil accepts all.
	CheckSensor func(edge.Sensor) error
	// CheckAlert judges a rule's expressions. Its error is reported at the rule, or at the key
	// and character that a method Where() (field string, column int) of it gives; a method
	// Problem() (msg, hint string) replaces its text. Nil accepts all.
	CheckAlert func(Alert) error
	// Builtin names the rules that need neither when nor for_each, as they exist already.
	Builtin []string
	// Layer is laid over the file; nil = none.
	Layer *Layer
	// SiteOnly is for replay: only the site model counts. site may be missing, ids may be of
	// any shape without spaces, no file is looked at, and who listens where does not matter.
	SiteOnly bool
}
