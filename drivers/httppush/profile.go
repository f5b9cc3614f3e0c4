package httppush

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/drivers/payload"
	"github.com/headcount-hub/headcount/drivers/profiles"
)

// openAll makes a decoder of every profile whose messages can come by HTTP, for /v1/push/{profile}.
// Those of MQTT need a topic, which names the device.
func openAll() (map[string]*profiles.Decoder, error) {
	all := map[string]*profiles.Decoder{}
	for _, name := range profiles.Names() {
		if p, _ := profiles.Lookup(name); p.Transport != "" && p.Transport != "http" {
			continue
		}
		d, err := profiles.Open(name, nil)
		if err != nil {
			return nil, err
		}
		all[name] = d
	}
	return all, nil
}

// openBinding makes the decoder of a path: raw is the name of a profile, or an object {profile, …}
// whose other members are options of the profile's codec.
func openBinding(raw json.RawMessage) (*profiles.Decoder, error) {
	var name string
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] == '"' {
		if err := json.Unmarshal(raw, &name); err != nil {
			return nil, err
		}
		return profiles.Open(name, nil)
	}
	options := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &options); err != nil {
		return nil, errors.New("want the name of a profile or an object {profile, …}")
	}
	name = "json"
	if p, ok := options["profile"]; ok {
		if err := json.Unmarshal(p, &name); err != nil {
			return nil, errors.New("profile: want a text")
		}
		delete(options, "profile")
	}
	site, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	return profiles.Open(name, site)
}

// serveProfile is POST /v1/push/{profile}.
func (d *Driver) serveProfile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("profile")
	decoder, ok := d.profiles[name]
	if !ok {
		names := profiles.Names()
		slices.Sort(names)
		problemf(http.StatusNotFound, "", "unknown profile %q; known profiles: %s", name, strings.Join(names, ", ")).write(w)
		return
	}
	d.push(decoder).ServeHTTP(w, r)
}

// push takes what a device posts in its own shape. The body is one message: its readings are
// stored together. Where a part of it cannot be understood the rest is taken, and the answer
// names the part behind the others.
func (d *Driver) push(decoder *profiles.Decoder) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received := time.Now()
		res, p := d.message(r, decoder, received)
		if p != nil {
			d.refuse(w, r, received, p)
			return
		}
		res.write(w)
	})
}

func (d *Driver) message(r *http.Request, decoder *profiles.Decoder, received time.Time) (*result, *problem) {
	b, p := d.read(r)
	if p != nil {
		return nil, p
	}
	defer b.release()
	in := payload.Input{Path: r.URL.Path, Body: b.Bytes(), Received: received}
	rs, err := decoder.Readings(in)
	if err != nil && len(rs) == 0 {
		p := undecodable(err)
		p.hash = hash(in.Body)
		return nil, p
	}
	items := &batch{}
	for _, r := range rs {
		if len(r.Device) > maxName {
			items.refuse(fmt.Errorf("device address of %d bytes; at most %d are taken", len(r.Device), maxName))
			continue
		}
		if a, ok := d.names.sensors[r.Device]; ok {
			r.Device = a
		}
		items.take(r)
	}
	if err != nil {
		items.refuse(err)
	}
	if len(items.refused) > 0 {
		items.hash = hash(in.Body)
	}
	return d.put(r.Context(), r.URL.Path, items, received)
}

// undecodable is the answer to a message that says nothing its profile understands.
func undecodable(err error) *problem {
	status, cause := http.StatusBadRequest, payload.Malformed
	var e *payload.Error
	if errors.As(err, &e) {
		if cause = e.Cause; cause == payload.TooLarge {
			status = http.StatusRequestEntityTooLarge
		}
	}
	return problemf(status, cause, "%v", err)
}
