package schema

import (
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Hub lists the types of event that hubs write.
func Hub() []Type {
	return []Type{
		{Name: string(edge.OccupancyChanged), About: "How many people are in a space has changed.", Data: edge.Occupancy{}},
		{Name: string(edge.OccupancyRevised), About: "How many people were in a space was revised.", Data: edge.Occupancy{}},
		{Name: string(edge.AlertRaised), About: "An alert fires.", Data: edge.Alert{}},
		{Name: string(edge.AlertUpdated), About: "An open alert has changed.", Data: edge.Alert{}},
		{Name: string(edge.AlertAcknowledged), About: "Somebody takes care of an alert.", Data: acknowledged{}},
		{Name: string(edge.AlertCleared), About: "An alert is over.", Data: edge.Alert{}},
		{Name: string(edge.ActionDelivered), About: "A hub has told somebody of an alert.", Data: action{}},
		{Name: string(edge.ActionFailed), About: "A hub has given up telling somebody of an alert.", Data: action{}},
		{Name: string(edge.Correction), About: "Somebody has counted and set the people in a space.", Data: correction{}},
		{Name: string(edge.SensorStatusEvent), About: "A sensor works, or does not any more.", Data: sensorStatus{}},
		{Name: string(edge.DeviceStatusEvent), About: "A device was heard first, approved or ignored.", Data: device{}},
		{Name: string(edge.HubStatus), About: "The hub was started or paused, or one of its drivers connected or lost its connection.", Data: hubStatus{}},
		{Name: string(edge.Loss), About: "What did not become an accepted reading, or was dropped later.", Data: edge.LossEntry{}},
		{Name: string(edge.ConfigApplied), About: "The hub runs a configuration.", Data: configApplied{}},
		{Name: string(edge.ConfigRefused), About: "The hub does not run the configuration that the cloud desires.", Data: configRefused{}},
		{Name: string(edge.Audit), About: "Somebody has given a hub a command.", Data: audit{}},
		{Name: string(edge.AccessGranted), About: "Somebody was let through a door.", Data: edge.Passage{}},
		{Name: string(edge.AccessDenied), About: "Somebody was not let through a door.", Data: edge.Passage{}},
		{Name: string(edge.DoorOpened), About: "A door was opened.", Data: edge.DoorChange{}},
		{Name: string(edge.DoorClosed), About: "A door was closed.", Data: edge.DoorChange{}},
		{Name: string(edge.DoorForced), About: "A door was opened and nobody was let through.", Data: edge.DoorChange{}},
		{Name: string(edge.DoorHeldOpen), About: "A door is open for too long.", Data: edge.DoorChange{}},
		{Name: string(edge.CameraOffline), About: "A camera is not heard any more.", Data: edge.CameraChange{}},
		{Name: string(edge.CameraOnline), About: "A camera is heard again.", Data: edge.CameraChange{}},
		{Name: string(edge.PersonDetected), About: "A camera sees persons.", Data: edge.CameraSight{}},
		{Name: string(edge.MotionDetected), About: "A camera sees something move.", Data: edge.CameraSight{}},
	}
}

// What hubs write without a type of their own.
type (
	acknowledged struct {
		edge.Alert
		Note string `json:"note,omitempty"`
	}
	action struct {
		Job      string `json:"job"`
		Action   string `json:"action"`
		Event    string `json:"event"`
		Attempts int    `json:"attempts"`
		Error    string `json:"error"`
	}
	correction struct {
		Space  string `json:"space"`
		By     string `json:"by"`
		Reason string `json:"reason"`
		Before *int   `json:"before"`
		After  int    `json:"after"`
	}
	sensorStatus struct {
		Sensor string `json:"sensor"`
		From   string `json:"from,omitempty"`
		Status string `json:"status"`
		Cause  string `json:"cause,omitempty"`
		Reason string `json:"reason"`
	}
	device struct {
		Device string           `json:"device"`
		State  edge.DeviceState `json:"state"`
		Sensor string           `json:"sensor,omitempty"`
	}
	hubStatus struct {
		Status  string    `json:"status,omitempty"` // of the hub: started, paused
		Boot    string    `json:"boot,omitempty"`
		Version string    `json:"version,omitempty"`
		Clock   string    `json:"clock,omitempty"`
		From    time.Time `json:"from,omitzero"`
		To      time.Time `json:"to,omitzero"`
		ID      string    `json:"id,omitempty"` // of a driver
		Driver  string    `json:"driver,omitempty"`
		Up      bool      `json:"up,omitempty"`
		Detail  string    `json:"detail,omitempty"`
		Since   time.Time `json:"since,omitzero"`
	}
	configApplied struct {
		Hash     string `json:"hash"`
		Revision uint64 `json:"revision,omitempty"`
	}
	configRefused struct {
		Revision uint64   `json:"revision"`
		Reasons  []string `json:"reasons"`
		Runs     uint64   `json:"runs"`
	}
	audit struct {
		Command map[string]any `json:"command"`
		Applied bool           `json:"applied"`
		Reason  string         `json:"reason"`
	}
)
