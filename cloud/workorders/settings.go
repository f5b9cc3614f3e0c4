package workorders

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/http"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// settingRoutes are those of SLA templates and rules, which managers of an organisation set.
func (m *Module) settingRoutes() []route.Route {
	of := func(r *route.Request) ([]string, error) { return []string{r.PathValue("org")}, nil }
	at := func(method, path, summary string, least token.Role, h func(*route.Request) (any, error)) route.Route {
		return route.Route{Method: method, Path: "/v1/orgs/{org}" + path, Summary: summary, Need: route.Need{Of: of, Role: least}, Handle: h}
	}
	const templates, rules = "/work-order-templates", "/work-order-rules"
	return []route.Route{
		at("GET", templates, "SLA templates", token.Viewer, func(r *route.Request) (any, error) {
			list, err := m.templates(r.Context(), r.PathValue("org"))
			return map[string]any{"templates": orEmpty(list)}, err
		}),
		at("PUT", templates+"/{name}", "Set an SLA template", token.Manager, m.putTemplate),
		at("DELETE", templates+"/{name}", "Delete an SLA template", token.Manager, m.drop("workorders_templates")),
		at("GET", rules, "Rules by which alerts open work orders", token.Viewer, func(r *route.Request) (any, error) {
			list, err := m.rules(r.Context(), r.PathValue("org"))
			return map[string]any{"rules": orEmpty(list)}, err
		}),
		at("PUT", rules+"/{name}", "Set a rule", token.Manager, m.putRule),
		at("DELETE", rules+"/{name}", "Delete a rule", token.Manager, m.drop("workorders_rules")),
	}
}

// putTemplate answers PUT …/work-order-templates/{name}. Orders that are open keep theirs.
func (m *Module) putTemplate(r *route.Request) (any, error) {
	var t Template
	if err := r.Decode(&t); err != nil {
		return nil, err
	}
	t.Name = r.PathValue("name")
	if err := t.check(); err != nil {
		return nil, route.Problem(http.StatusUnprocessableEntity, "SLA template %s: %v", t.Name, err)
	}
	return t, m.put(r, "workorders_templates", t.Name, t)
}

// putRule answers PUT …/work-order-rules/{name}.
func (m *Module) putRule(r *route.Request) (any, error) {
	var rule Rule
	if err := r.Decode(&rule); err != nil {
		return nil, err
	}
	rule.Name = r.PathValue("name")
	org := r.PathValue("org")
	if err := rule.check(org); err != nil {
		return nil, route.Problem(http.StatusUnprocessableEntity, "rule %s: %v", rule.Name, err)
	}
	if rule.Assignee != "" {
		if err := m.canWork(r.Context(), rule.domain(org), rule.Assignee); err != nil {
			return nil, err
		}
	}
	return rule, m.put(r, "workorders_rules", rule.Name, rule)
}

func (m *Module) put(r *route.Request, table, name string, v any) error {
	if !validDomain(name) {
		return route.Problem(http.StatusUnprocessableEntity, "name %q: want 1 to 64 of a-z 0-9 _ -", name)
	}
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return m.db.Update(r.Context(), func(tx *store.Tx) error {
		return tx.Exec(`INSERT INTO `+table+` (org, name, doc) VALUES (?, ?, ?) ON CONFLICT (org, name) DO UPDATE SET doc = excluded.doc`, r.PathValue("org"), name, string(doc))
	})
}

func (m *Module) drop(table string) func(*route.Request) (any, error) {
	return func(r *route.Request) (any, error) {
		return nil, m.db.Update(r.Context(), func(tx *store.Tx) error {
			n, err := tx.ExecCount(`DELETE FROM `+table+` WHERE org = ? AND name = ?`, r.PathValue("org"), r.PathValue("name"))
			if err == nil && n == 0 {
				err = route.ErrNotFound
			}
			return err
		})
	}
}

func (m *Module) rules(ctx context.Context, org string) ([]Rule, error) {
	rows, err := m.db.Query(ctx, `SELECT doc FROM workorders_rules WHERE org = ? ORDER BY name`, org)
	return store.Collect(rows, err, func(r *sql.Rows) (Rule, error) { return decode[Rule](r) })
}
