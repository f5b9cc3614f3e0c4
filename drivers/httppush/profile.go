package httppush

import (
	"fmt"
	"net/http"
)

func checkProfile(name string) error { return fmt.Errorf("unknown profile %q", name) }

// servePush is POST /v1/push/{profile}.
func (d *Driver) servePush(w http.ResponseWriter, _ *http.Request, profile string) {
	problemf(http.StatusNotFound, "", "%v", checkProfile(profile)).write(w)
}
