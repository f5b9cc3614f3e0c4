// Package catalog is the table of drivers: a new driver is one line here.
package catalog

import (
	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/broker"
	"github.com/headcount-hub/headcount/drivers/httppush"
	"github.com/headcount-hub/headcount/drivers/lines"
	"github.com/headcount-hub/headcount/drivers/mqtt"
)

// All returns the drivers that the hub knows, by the names that a configuration uses.
func All() drivers.Catalog {
	return drivers.Catalog{
		broker.Name:   broker.New,
		httppush.Name: httppush.New,
		lines.Name:    lines.New,
		mqtt.Name:     mqtt.New,

		httppush.MessagesName: httppush.NewMessages,
	}
}
