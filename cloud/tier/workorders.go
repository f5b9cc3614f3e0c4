package tier

import (
	"context"
	"net/http"
	"path/filepath"
	"time"

	"github.com/headcount-hub/headcount/cloud/notify"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/twin"
	"github.com/headcount-hub/headcount/cloud/workorders"
	"github.com/headcount-hub/headcount/sync/token"
)

// WorkOrders is how work orders are kept.
type WorkOrders struct {
	Zone      string            `yaml:"zone"`          // whose year numbers carry, such as Europe/Oslo; UTC by default
	Zones     map[string]string `yaml:"zones"`         // of single organisations, by id
	ClamAV    string            `yaml:"clamav"`        // tcp://HOST:PORT or unix:/PATH of clamd; without it nothing is scanned
	MaxFileMB int               `yaml:"max_file_mb"`   // of one attachment; 25 by default
	MaxFiles  int               `yaml:"max_files"`     // of one work order; 20 by default
	Tools     string            `yaml:"converter_dir"` // where cwebp and ffmpeg are; PATH by default
}

// attachmentsDir is the directory of attachments within the data directory.
const attachmentsDir = "attachments"

func (c *WorkOrders) check(bad func(string, ...any)) {
	zones := map[string]string{"zone": c.Zone}
	for org, zone := range c.Zones {
		zones["zones: "+org] = zone
	}
	for where, zone := range zones {
		if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
			bad("workorders: %s: %q is no zone; write for example Europe/Oslo", where, zone)
		}
	}
	if err := workorders.CheckScanner(c.ClamAV); err != nil {
		bad("workorders: clamav: %v", err)
	}
	if c.MaxFileMB < 0 || c.MaxFileMB > 4096 || c.MaxFiles < 0 || c.MaxFiles > 1000 {
		bad("workorders: want max_file_mb of at most 4096 and max_files of at most 1000")
	}
}

// options are the module's, of a configuration that was checked.
func (c *WorkOrders) options(data string) workorders.Options {
	zone, _ := time.LoadLocation(c.Zone)
	zones := map[string]*time.Location{}
	for org, name := range c.Zones {
		zones[org], _ = time.LoadLocation(name)
	}
	return workorders.Options{
		Dir: filepath.Join(data, attachmentsDir), Zone: zone, Zones: zones,
		Files: workorders.Files{MaxSize: int64(c.MaxFileMB) << 20, MaxCount: c.MaxFiles, Clamd: c.ClamAV, Converter: c.Tools},
	}
}

// openWorkOrders keeps work orders.
func (t *Tier) openWorkOrders(ctx context.Context) (part, error) {
	o := t.cfg.WorkOrders.options(t.cfg.Data)
	o.DB, o.Log, o.Domains, o.Authenticate, o.PublicURL = t.db, t.cfg.Log, twin.Domains, t.authenticate, t.PublicURL
	o.Accounts, o.Revoked = t.accounts.Exist, t.accounts.Revoked
	o.People = func(ctx context.Context, domain string, least token.Role) ([]workorders.Person, error) {
		users, err := t.accounts.Members(ctx, domain, least)
		people := make([]workorders.Person, len(users))
		for i, u := range users {
			people[i] = workorders.Person{ID: u.ID, Email: u.Email, Name: u.Name}
		}
		return people, err
	}
	o.Tell = func(tx *store.Tx, n workorders.Notice) error {
		return t.notify.Tell(tx, notify.Notice{
			Key: n.Key, Org: n.Org, User: n.User, Kind: n.Kind, Title: n.Title, Text: n.Text, Link: n.Link, Severity: n.Severity, At: n.At,
		})
	}
	m, err := workorders.Open(ctx, o)
	if err != nil {
		return part{}, err
	}
	return part{routes: m.Routes(t.twin.OfSite), run: m.Run, close: m.Close}, nil
}

// authenticate reads a token that came in a URL as if it had come in a header.
func (t *Tier) authenticate(ctx context.Context, raw string) (*token.Identity, error) {
	r := (&http.Request{Header: http.Header{"Authorization": {"Bearer " + raw}}}).WithContext(ctx)
	return t.door.identify(r)
}
