package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/cloud/tier"
)

// accountCommands are for organisations, users, services and keys. They work through the running
// tier, or on its data directory when none runs.
func (c *cli) accountCommands() []*cobra.Command {
	group := func(use, short string, subs ...*cobra.Command) *cobra.Command {
		cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
		cmd.AddCommand(subs...)
		return cmd
	}
	users := group("user", "Users and their roles", c.userAdd(), c.userList(), c.userRole(), c.userActive("deactivate", "Shut a user out, within a minute everywhere"),
		c.userActive("reactivate", "Let a user in again"), c.userPassword(), c.userImport())
	users.Aliases = []string{"users"}
	return []*cobra.Command{
		group("org", "Organisations and the domains below them", c.orgAdd(), c.orgList()),
		users,
		group("service", "Tokens of services", c.serviceAdd(), c.serviceList(), c.serviceRevoke()),
		group("keys", "Keys that sign tokens", c.keysRotate()),
		c.claimCode(),
	}
}

// api sends a request as this machine's administrator; in and out are JSON and may be nil.
func (c *cli) api(ctx context.Context, method, path string, in, out any) error {
	call := tier.AdminCall{Method: method, Path: path}
	if in != nil {
		var err error
		if call.Body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	return c.call(ctx, call, out)
}

func (c *cli) call(ctx context.Context, call tier.AdminCall, out any) error {
	cfg, err := c.quiet()
	if err != nil {
		return err
	}
	answer, err := tier.Administer(ctx, cfg, call)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

// user is what commands show of one.
type user struct {
	ID          string `json:"id"`
	Email       string `json:"email"`
	Name        string `json:"name"`
	Active      bool   `json:"active"`
	Verified    bool   `json:"verified"`
	Memberships []struct {
		Domain string `json:"domain"`
		Role   string `json:"role"`
	} `json:"memberships"`
}

// findUser finds a user by mail address.
func (c *cli) findUser(ctx context.Context, email string) (user, error) {
	var found struct{ Users []user }
	if email == "" {
		return user{}, errors.New("the mail address is empty")
	}
	if err := c.api(ctx, "GET", "/v1/users?email="+url.QueryEscape(email), nil, &found); err != nil {
		return user{}, err
	}
	if len(found.Users) == 0 {
		return user{}, fmt.Errorf("nobody has an account with the address %s", email)
	}
	return found.Users[0], nil
}

func (c *cli) orgAdd() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "add DOMAIN", Short: "Make an organisation, or a domain below one", Args: cobra.ExactArgs(1),
		Example: "  headcount-cloud org add acme --name 'Acme Ltd'\n  headcount-cloud org add acme/north",
		RunE: func(cmd *cobra.Command, args []string) error {
			org, _, below := strings.Cut(args[0], "/")
			if !below {
				return c.api(cmd.Context(), "POST", "/v1/orgs", map[string]string{"id": org, "name": name}, nil)
			}
			return c.api(cmd.Context(), "POST", "/v1/orgs/"+url.PathEscape(org)+"/domains", map[string]string{"domain": args[0], "name": name}, nil)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what people call it (default the last part of DOMAIN)")
	return cmd
}

func (c *cli) orgList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List organisations and domains", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var found struct {
				Domains []struct{ Domain, Name string }
			}
			if err := c.api(cmd.Context(), "GET", "/v1/orgs", nil, &found); err != nil {
				return err
			}
			return c.table(func(w io.Writer) {
				for _, d := range found.Domains {
					fmt.Fprintf(w, "%s\t%s\n", d.Domain, d.Name)
				}
			})
		},
	}
}

// table prints columns.
func (c *cli) table(rows func(io.Writer)) error {
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	rows(w)
	return w.Flush()
}

func (c *cli) userAdd() *cobra.Command {
	var domain, role, name, file string
	var invite bool
	cmd := &cobra.Command{
		Use: "add EMAIL", Short: "Make a user", Args: cobra.ExactArgs(1),
		Long:    "Makes a user with a role. Without --password-file or --invite a password is made and printed once.",
		Example: "  headcount-cloud user add ann@example.org --domain acme --role admin",
		RunE: func(cmd *cobra.Command, args []string) error {
			if name == "" {
				name, _, _ = strings.Cut(args[0], "@")
			}
			in := map[string]string{"email": args[0], "name": name, "domain": domain, "role": role}
			made := false
			if !invite {
				var err error
				if in["password"], made, err = newPassword(file); err != nil {
					return err
				}
			}
			var u user
			if err := c.api(cmd.Context(), "POST", "/v1/users", in, &u); err != nil {
				return err
			}
			if made {
				fmt.Fprintln(c.stdout, "password ", in["password"])
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&domain, "domain", "", "where the role is: an organisation, or a domain below one")
	cmd.Flags().StringVar(&role, "role", "viewer", "viewer, operator, manager or admin")
	cmd.Flags().StringVar(&name, "name", "", "name (default the first part of EMAIL)")
	cmd.Flags().StringVar(&file, "password-file", "", "read the password from this file, - for standard input")
	cmd.Flags().BoolVar(&invite, "invite", false, "mail a link by which they choose their password")
	_ = cmd.MarkFlagRequired("domain") // it is there
	cmd.MarkFlagsMutuallyExclusive("invite", "password-file")
	return cmd
}

// newPassword reads a password from a file, or makes one.
func newPassword(file string) (password string, made bool, err error) {
	var b []byte
	switch file {
	case "":
		return rand.Text()[:20], true, nil
	case "-":
		b, err = io.ReadAll(io.LimitReader(os.Stdin, 1024))
	default:
		b, err = os.ReadFile(file)
	}
	return strings.TrimRight(string(b), "\r\n"), false, err
}

func (c *cli) userList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List users", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var found struct{ Users []user }
			if err := c.api(cmd.Context(), "GET", "/v1/users", nil, &found); err != nil {
				return err
			}
			return c.table(func(w io.Writer) {
				for _, u := range found.Users {
					state := "active"
					switch {
					case !u.Active:
						state = "deactivated"
					case !u.Verified:
						state = "unconfirmed"
					}
					var roles []string
					for _, m := range u.Memberships {
						roles = append(roles, m.Role+" in "+m.Domain)
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", u.Email, u.Name, state, strings.Join(roles, ", "))
				}
			})
		},
	}
}

func (c *cli) userRole() *cobra.Command {
	return &cobra.Command{
		Use: "role EMAIL DOMAIN ROLE", Short: "Set a user's role in a domain; none takes it away", Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := c.findUser(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			path := "/v1/users/" + u.ID + "/memberships"
			if args[2] == "none" {
				return c.api(cmd.Context(), "DELETE", path+"?domain="+url.QueryEscape(args[1]), nil, nil)
			}
			return c.api(cmd.Context(), "POST", path, map[string]string{"domain": args[1], "role": args[2]}, nil)
		},
	}
}

func (c *cli) userActive(verb, short string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " EMAIL", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := c.findUser(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.api(cmd.Context(), "POST", "/v1/users/"+u.ID+"/"+verb, nil, nil)
		},
	}
}

func (c *cli) userPassword() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "password EMAIL", Short: "Set a user's password and end their logins", Args: cobra.ExactArgs(1),
		Long: "Sets a user's password and ends their logins. Without --password-file a password is made and printed once.",
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := c.findUser(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			password, made, err := newPassword(file)
			if err != nil {
				return err
			}
			if err := c.api(cmd.Context(), "PUT", "/v1/users/"+u.ID+"/password", map[string]string{"password": password}, nil); err != nil {
				return err
			}
			if made {
				fmt.Fprintln(c.stdout, "password ", password)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "password-file", "", "read the password from this file, - for standard input")
	return cmd
}

func (c *cli) userImport() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use: "import ORG FILE.csv", Short: "Import users: all lines, or none", Args: cobra.ExactArgs(2),
		Long: "Reads a file with the columns email,name,domain,role and, if wanted, locale,timezone. Importing a file twice changes nothing.",
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := os.ReadFile(args[1])
			if err != nil {
				return err
			}
			path := "/v1/orgs/" + url.PathEscape(args[0]) + "/users/import"
			if dry {
				path += "?dry_run=1"
			}
			var report struct {
				Created, Updated, Unchanged int
				Lines                       []struct {
					Line                  int
					Email, Change, Detail string
				}
			}
			if err := c.call(cmd.Context(), tier.AdminCall{Method: "POST", Path: path, ContentType: "text/csv", Body: b}, &report); err != nil {
				return err
			}
			return c.table(func(w io.Writer) {
				for _, l := range report.Lines {
					fmt.Fprintf(w, "line %d\t%s\t%s\t%s\n", l.Line, l.Change, l.Email, l.Detail)
				}
				fmt.Fprintf(w, "%d created, %d updated, %d unchanged\n", report.Created, report.Updated, report.Unchanged)
			})
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would change")
	return cmd
}
