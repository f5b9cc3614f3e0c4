package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/cloud/tier"
)

func (c *cli) mcpCommand() *cobra.Command {
	var url, tokenFile string
	cmd := &cobra.Command{
		Use: "mcp", Short: "Serve the tools for assistants on standard input and output (MCP)", Args: cobra.NoArgs,
		Long: `Serves the Model Context Protocol on standard input and output, for assistants that start their tools as
programs. It asks the API of a running tier in the name of the token's holder, and only reads. A tier serves
the same tools over HTTP at /mcp.`,
		Example: "  headcount-cloud mcp --url https://headcount.example.org --token-file ~/.headcount-token",
		RunE: func(cmd *cobra.Command, _ []string) error {
			secret, err := firstToken(tokenFile)
			if err != nil {
				return err
			}
			return tier.ServeMCP(cmd.Context(), url, secret, versionString(), os.Stdin, os.Stdout)
		},
	}
	cmd.Flags().StringVar(&url, "url", "http://127.0.0.1:8090", "address of the tier")
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "file that holds the token; its first line, \"secret\" or \"name:secret\"")
	return cmd
}

// firstToken reads the token of a file; empty without a file.
func firstToken(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("--token-file: %s is open to every user of this machine; run: chmod 600 %s", file, file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if name, secret, ok := strings.Cut(line, ":"); ok && !strings.Contains(name, ".") {
		line = secret
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", fmt.Errorf("--token-file: %s is empty", file)
	}
	return line, nil
}
