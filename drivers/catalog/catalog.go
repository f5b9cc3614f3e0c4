// Package catalog is the table of drivers; a new driver is one line here.
package catalog

import (
	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/broker"
	"github.com/headcount-hub/headcount/drivers/httppush"
	"github.com/headcount-hub/headcount/drivers/lines"
)

// All returns every driver by the name that configurations use.
func All() drivers.Catalog {
	return drivers.Catalog{
		broker.Name:   broker.New,
		httppush.Name: httppush.New,
		lines.Name:    lines.New,
	}
}
