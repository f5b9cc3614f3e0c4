package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/cloud/tier"
)

func (c *cli) serviceAdd() *cobra.Command {
	var domain, role, audience, life string
	var permissions []string
	cmd := &cobra.Command{
		Use: "add ORG NAME", Short: "Make the token of a service and print it", Args: cobra.ExactArgs(2),
		Example: "  headcount-cloud service add acme wallboard --role viewer --permission read",
		RunE: func(cmd *cobra.Command, args []string) error {
			in := map[string]any{"name": args[1], "domain": domain, "role": role, "permissions": permissions, "audience": audience, "life": life}
			var made struct{ ID, Token string }
			if err := c.api(cmd.Context(), "POST", "/v1/orgs/"+url.PathEscape(args[0])+"/services", in, &made); err != nil {
				return err
			}
			fmt.Fprintln(c.stderr, "id", made.ID)
			_, err := fmt.Fprintln(c.stdout, made.Token)
			return err
		},
	}
	cmd.Flags().StringVar(&domain, "domain", "", "where the role is (default ORG)")
	cmd.Flags().StringVar(&role, "role", "viewer", "viewer, operator, manager or admin")
	cmd.Flags().StringSliceVar(&permissions, "permission", []string{"read"}, "what it may do: read, write, …")
	cmd.Flags().StringVar(&audience, "audience", "", "whom the token is for (default headcount)")
	cmd.Flags().StringVar(&life, "life", "", "how long it is good, such as 720h or 90d (default 90d)")
	return cmd
}

func (c *cli) serviceList() *cobra.Command {
	return &cobra.Command{
		Use: "list ORG", Short: "List the tokens of services", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var found struct {
				Services []struct {
					ID, Name, Domain, Role, Expires, Revoked string
					Permissions                              []string
				}
			}
			if err := c.api(cmd.Context(), "GET", "/v1/orgs/"+url.PathEscape(args[0])+"/services", nil, &found); err != nil {
				return err
			}
			return c.table(func(w io.Writer) {
				for _, s := range found.Services {
					state := "until " + s.Expires
					if s.Revoked != "" {
						state = "revoked"
					}
					fmt.Fprintf(w, "%s\t%s\t%s in %s\t%s\t%s\n", s.ID, s.Name, s.Role, s.Domain, strings.Join(s.Permissions, " "), state)
				}
			})
		},
	}
}

func (c *cli) serviceRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ORG ID", Short: "Revoke the token of a service", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.api(cmd.Context(), "DELETE", "/v1/orgs/"+url.PathEscape(args[0])+"/services/"+url.PathEscape(args[1]), nil, nil)
		},
	}
}

func (c *cli) keysRotate() *cobra.Command {
	return &cobra.Command{
		Use: "rotate", Short: "Sign tokens with a new key; the old one verifies until its tokens are out", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var made struct {
				Key      string
				OldUntil string `json:"old_until"`
			}
			if err := c.api(cmd.Context(), "POST", "/v1/keys/rotate", nil, &made); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.stdout, "new key %s; the old one verifies until %s\n", made.Key, made.OldUntil)
			return err
		},
	}
}

func (c *cli) claimCode() *cobra.Command {
	return &cobra.Command{
		Use: "claim-code", Short: "Print the code that makes the first account", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := c.quiet()
			if err != nil {
				return err
			}
			code, err := tier.ClaimCode(cfg)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.stdout, code)
			return err
		},
	}
}
