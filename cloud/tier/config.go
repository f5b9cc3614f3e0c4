package tier

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Config is what a tier runs under. The zero value, given a data directory, runs on loopback.
type Config struct {
	Data          string         `yaml:"data"`          // directory of keys, streams and database; "./headcount-cloud-data" by default
	Database      string         `yaml:"database"`      // "postgres://USER@HOST/DATABASE"; empty = SQLite in the data directory
	DatabaseFile  string         `yaml:"database_file"` // file with that URL, for one with a password
	HTTP          HTTP           `yaml:"http"`
	NATS          NATS           `yaml:"nats"`
	Organisations []Organisation `yaml:"organisations"`
	Accounts      Accounts       `yaml:"accounts"`
	WorkOrders    WorkOrders     `yaml:"workorders"`
	Mail          Mail           `yaml:"mail"`
	Notify        Notify         `yaml:"notify"`
	Bus           Bus            `yaml:"bus"`
	Telemetry     Telemetry      `yaml:"telemetry"`
	Agent         Agent          `yaml:"agent"`
	Sinks         Sinks          `yaml:"sinks"`

	Version string       `yaml:"-"` // of the program, as it is shown
	Log     *slog.Logger `yaml:"-"` // nil = silent
}

// HTTP is the API and page.
type HTTP struct {
	Listen      string   `yaml:"listen"`      // "127.0.0.1:8090" by default; port 0 takes any free one
	TokenFile   string   `yaml:"token_file"`  // "name:secret" or "name:role:secret" per line, as on the hub
	Certificate string   `yaml:"certificate"` // PEM file; with Key it makes HTTPS
	Key         string   `yaml:"key"`         //
	Hosts       []string `yaml:"hosts"`       // further names under which an API without tokens may be called
	TLS         string   `yaml:"tls"`         // without a certificate: "auto" (default) makes a self-signed one beyond loopback, "off" does not

	PublicURL string `yaml:"public_url"` // of this server as people reach it, for links in mails; the listener's own by default

	TrustedProxies []string  `yaml:"trusted_proxies"` // addresses and networks whose X-Forwarded-For and -Proto are believed
	CORSOrigins    []string  `yaml:"cors_origins"`    // pages elsewhere that may call, such as https://intranet.example.org
	RateLimit      RateLimit `yaml:"rate_limit"`
}

// NATS is where hubs connect.
type NATS struct {
	Listen      string `yaml:"listen"`      // "127.0.0.1:4222" by default; port 0 takes any free one
	Certificate string `yaml:"certificate"` // PEM file; with Key it makes TLS, needed beyond loopback
	Key         string `yaml:"key"`         //
	Advertise   string `yaml:"advertise"`   // URL that hubs are told; the listener's own by default

	URL             string `yaml:"url"`               // an external cluster instead of the embedded server
	CredentialsFile string `yaml:"credentials_file"`  // the cloud's user there
	AccountSeedFile string `yaml:"account_seed_file"` // to enrol sites there
	AccountID       string `yaml:"account_id"`        // when the seed is a signing key's
}

// Organisation owns sites.
type Organisation struct {
	ID       string    `yaml:"id"` // [a-z0-9_-]{1,64}
	Webhooks []Webhook `yaml:"webhooks"`
}

// Webhook is told about the alerts of an organisation's sites.
type Webhook struct {
	Name        string         `yaml:"name"` // a hub's alert that names it among its actions is the hub's to deliver
	URL         string         `yaml:"url"`
	SecretFile  string         `yaml:"secret_file"`  // signs the requests
	Format      deliver.Format `yaml:"format"`       // cloudevents (default) or alertmanager
	MinSeverity edge.Severity  `yaml:"min_severity"` // info by default
	MaxAge      time.Duration  `yaml:"max_age"`      // what arrives later is recorded, not sent; 15m by default
}

// The defaults of Config.
const (
	DefaultData = "headcount-cloud-data"
	DefaultHTTP = "127.0.0.1:8090"
	DefaultNATS = "127.0.0.1:4222"
)

// ErrConfig is wrapped by errors that changing the configuration mends.
var ErrConfig = errors.New("configuration")

// maxConfigFile is the largest configuration file in bytes.
const maxConfigFile = 1 << 20

// LoadConfig reads a YAML file. Unknown keys are errors; relative paths in it are relative to
// the file.
func LoadConfig(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return Config{}, fmt.Errorf("%w: read %s: %w", ErrConfig, path, err)
	}
	if len(b) > maxConfigFile {
		return Config{}, fmt.Errorf("%w: %s is larger than %d bytes", ErrConfig, path, maxConfigFile)
	}
	c, err := parseConfig(b)
	if err != nil {
		return Config{}, fmt.Errorf("%w: %s: %w", ErrConfig, path, err)
	}
	c.resolve(filepath.Dir(path))
	return c, nil
}

func parseConfig(b []byte) (Config, error) {
	var c Config
	err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(&c)
	if err != nil && !errors.Is(err, io.EOF) { // an empty file has all defaults
		return Config{}, errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	return c, c.check()
}

// resolve makes the paths of a file absolute.
func (c *Config) resolve(dir string) {
	paths := []*string{
		&c.Data, &c.DatabaseFile, &c.HTTP.TokenFile, &c.HTTP.Certificate, &c.HTTP.Key,
		&c.NATS.Certificate, &c.NATS.Key, &c.NATS.CredentialsFile, &c.NATS.AccountSeedFile,
		&c.WorkOrders.Tools,
		&c.Mail.PasswordFile, &c.Mail.CAFile,
		&c.Agent.KeyFile,
	}
	for i := range c.Organisations {
		for j := range c.Organisations[i].Webhooks {
			paths = append(paths, &c.Organisations[i].Webhooks[j].SecretFile)
		}
	}
	for _, p := range append(append(paths, c.Accounts.paths()...), c.Sinks.paths()...) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

func (c *Config) setDefaults() {
	for field, value := range map[*string]string{&c.Data: DefaultData, &c.HTTP.Listen: DefaultHTTP, &c.NATS.Listen: DefaultNATS, &c.Version: "dev"} {
		if *field == "" {
			*field = value
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// check finds all mistakes at once.
func (c *Config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	c.checkDatabase(bad)
	c.HTTP.check(bad)
	c.Accounts.check(bad)
	c.WorkOrders.check(bad)
	c.Mail.check(bad)
	c.Telemetry.check(bad)
	c.Agent.check(bad)
	c.Sinks.check(bad)
	if (c.NATS.Certificate == "") != (c.NATS.Key == "") {
		bad("nats: certificate and key belong together")
	}
	orgs := map[string]bool{}
	for _, o := range c.Organisations {
		if !wire.ValidToken(o.ID) {
			bad("organisation %q: want an id of 1 to 64 of a-z 0-9 _ -", o.ID)
		}
		if orgs[o.ID] {
			bad("organisation %q is there twice", o.ID)
		}
		orgs[o.ID] = true
		hooks := map[string]bool{}
		for _, w := range o.Webhooks {
			if w.Name == "" || hooks[w.Name] {
				bad("organisation %q: webhook %q: want a name that no other has", o.ID, w.Name)
			}
			hooks[w.Name] = true
			if !strings.HasPrefix(w.URL, "https://") && !strings.HasPrefix(w.URL, "http://") {
				bad("organisation %q: webhook %q: url %q is no http or https address", o.ID, w.Name, w.URL)
			}
			if !slices.Contains([]edge.Severity{"", edge.Info, edge.Warning, edge.Critical}, w.MinSeverity) {
				bad("organisation %q: webhook %q: min_severity %q, want info, warning or critical", o.ID, w.Name, w.MinSeverity)
			}
			if !slices.Contains([]deliver.Format{"", deliver.CloudEvents, deliver.Alertmanager}, w.Format) {
				bad("organisation %q: webhook %q: format %q, want cloudevents or alertmanager", o.ID, w.Name, w.Format)
			}
			if w.MaxAge < 0 {
				bad("organisation %q: webhook %q: max_age is negative", o.ID, w.Name)
			}
		}
	}
	return errors.Join(errs...)
}
