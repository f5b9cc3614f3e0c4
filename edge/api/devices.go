package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/headcount-hub/headcount/edge"
)

// DeviceList is the answer of GET /v1/devices.
type DeviceList struct {
	Devices []edge.Device `json:"devices" nullable:"false"`
}

// Approval assigns a device to a sensor of the site, which it makes.
type Approval struct {
	ID       string             `json:"id" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]*$" doc:"id of the sensor that the device serves from now on"`
	Name     string             `json:"name,omitempty" maxLength:"100"`
	Space    string             `json:"space,omitempty" doc:"what it observes: a space, or"`
	Door     string             `json:"door,omitempty" doc:"a door"`
	Class    edge.Class         `json:"class,omitempty" enum:"line-tof,line-stereo,line-thermopile,line-beam,pir,mmwave,desk,zone-count,co2,contact,wifi,badge,environment" doc:"needed unless a profile says it"`
	Profile  string             `json:"profile,omitempty" maxLength:"64" doc:"named sensor model"`
	Reversed bool               `json:"reversed,omitempty" doc:"the device's in is the door's out"`
	Params   map[string]float64 `json:"params,omitempty" doc:"estimator parameters that differ from the class's"`
}

func (a *API) deviceRoutes(h huma.API) {
	const tag = "devices"
	huma.Register(h, operation(http.MethodGet, "/v1/devices", "list-devices", tag, "Devices the hub has heard from"),
		func(_ context.Context, in *struct {
			State string `query:"state" enum:"pending,approved,ignored"`
		}) (*body[DeviceList], error) {
			out := DeviceList{Devices: []edge.Device{}}
			for _, d := range a.opts.Site.Snapshot().Devices {
				if in.State == "" || string(d.State) == in.State {
					out.Devices = append(out.Devices, d)
				}
			}
			return answer(out), nil
		})
	huma.Register(h, operation(http.MethodPost, "/v1/devices/{id}/approve", "approve-device", tag,
		"Assign a device to a space or door; id is its address, URL-escaped", 404, 409),
		func(ctx context.Context, in *struct {
			ID   string `path:"id"`
			Body Approval
			Idempotent
		}) (*body[edge.CommandResult], error) {
			if err := a.checkApproval(in.ID, in.Body); err != nil {
				return nil, err
			}
			return a.do(ctx, edge.ApproveDevice, in.ID, in.Key, in.Body)
		})
	huma.Register(h, operation(http.MethodPost, "/v1/devices/{id}/ignore", "ignore-device", tag,
		"Do not ask about this device again; its readings are counted only", 404, 409),
		func(ctx context.Context, in *struct {
			ID string `path:"id"`
			Idempotent
		}) (*body[edge.CommandResult], error) {
			if err := a.knownDevice(in.ID); err != nil {
				return nil, err
			}
			return a.do(ctx, edge.IgnoreDevice, in.ID, in.Key, struct{}{})
		})
}

func (a *API) knownDevice(address string) error {
	known := func(d edge.Device) bool { return d.Address == address }
	if !slices.ContainsFunc(a.opts.Site.Snapshot().Devices, known) {
		return huma.Error404NotFound(fmt.Sprintf("device %q was never heard; GET /v1/devices lists those that were", address))
	}
	return nil
}

// checkApproval says at once and by field what the engine would refuse.
func (a *API) checkApproval(address string, b Approval) error {
	if err := a.knownDevice(address); err != nil {
		return err
	}
	site := a.opts.Site.Snapshot().Site
	switch {
	case (b.Space == "") == (b.Door == ""):
		return badParameter("body", "", "give exactly one of space and door")
	case b.Class == "" && b.Profile == "":
		return badParameter("body.class", "", "give a class or a profile")
	}
	if b.Space != "" {
		if _, ok := site.Space(b.Space); !ok {
			return badParameter("body.space", b.Space, "is not a space of this site")
		}
		return nil
	}
	if _, ok := site.Door(b.Door); !ok {
		return badParameter("body.door", b.Door, "is not a door of this site")
	}
	return nil
}
