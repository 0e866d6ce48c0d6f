// What the drivers of both libraries share.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// Set by whoever builds it.
var version = "?"

type check struct {
	name string
	run  func() error
}

// What was expected and did not come, if that is so.
func expect(got, wanted interface{}) error {
	if fmt.Sprint(got) != fmt.Sprint(wanted) {
		return fmt.Errorf("%v is not %v", got, wanted)
	}
	return nil
}

// Runs the checks, and prints the library's row of the table.
func report(client string, checks []check) {
	seen := map[string]string{}
	for _, check := range checks {
		seen[check.name] = "yes"
		if err := check.run(); err != nil {
			seen[check.name] = err.Error()
		}
	}
	row := map[string]interface{}{"client": client, "version": version, "checks": seen}
	if err := json.NewEncoder(os.Stdout).Encode(row); err != nil {
		panic(err)
	}
}
