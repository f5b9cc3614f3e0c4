package alerts

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// A condition holds when it is known to be true. One expression gives two: that it is known to
// be true, and that it is known to be false.
type condition struct {
	program *vm.Program
	uses    []string // variables it names, sorted
}

// functions are the ones conditions may call: pure, cheap, and of numbers.
var functions = []string{"abs", "ceil", "floor", "round", "min", "max"}

// MaxExpression bounds the text of a condition in bytes.
const MaxExpression = 2048

// compile checks the condition text of a rule against its subject's facts and returns
// "known true" and "known false".
func compile(rule, field, forEach, text string) (yes, no condition, err error) {
	mistake := func(column int, msg, hint string) error {
		return &Error{Rule: rule, Field: field, Column: column, Msg: msg, Hint: hint}
	}
	if len(text) > MaxExpression {
		return yes, no, mistake(0, fmt.Sprintf("is %d bytes long, at most %d are allowed", len(text), MaxExpression), "")
	}
	tree, err := parser.Parse(text)
	if err != nil {
		return yes, no, mistake(place(err), plain(err), "")
	}
	vars := variablesOf(kindOf(forEach))
	c := checker{vars: vars, forEach: forEach}
	ast.Walk(&tree.Node, &c)
	if c.msg != "" {
		return yes, no, mistake(c.column, c.msg, c.hint)
	}
	env := zeroFacts(kindOf(forEach))
	if _, err := expr.Compile(text, options(env)...); err != nil {
		return yes, no, mistake(place(err), plain(err), resultHint(err))
	}
	g := guards{vars: vars}
	uses := g.uses(tree.Node)
	for _, x := range []struct {
		to   *condition
		text string
	}{{&yes, g.truth(tree.Node)}, {&no, g.falsity(tree.Node)}} {
		p, err := expr.Compile(x.text, options(env)...)
		if err != nil {
			return yes, no, mistake(0, "cannot be compiled: "+plain(err), "")
		}
		*x.to = condition{program: p, uses: uses}
	}
	return yes, no, nil
}

func options(env any) []expr.Option {
	opts := []expr.Option{expr.Env(env), expr.AsBool(), expr.MaxNodes(2000), expr.DisableAllBuiltins()}
	for _, f := range functions {
		opts = append(opts, expr.EnableBuiltin(f))
	}
	return opts
}

// place returns the 1-based column of a compile error; 0 when it has none.
func place(err error) int {
	var e *file.Error
	if errors.As(err, &e) {
		return e.Column + 1
	}
	return 0
}

// plain returns the message of a compile error without its drawing of the source.
func plain(err error) string {
	var e *file.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

func resultHint(err error) string {
	if strings.Contains(err.Error(), "expected bool") {
		return "a condition must be a yes or no, for example count > 5"
	}
	return ""
}

// checker finds names that do not exist and constructs that conditions do not have.
type checker struct {
	vars      []variable
	forEach   string
	msg, hint string
	column    int
}

// Visit is called for every node of the expression, the inner ones first.
func (c *checker) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if !slices.ContainsFunc(c.vars, func(v variable) bool { return v.Name == n.Value }) {
			c.fail(n, fmt.Sprintf("there is no %q for a %s", n.Value, c.forEach), choices(n.Value, names(c.vars)))
		}
	case *ast.BuiltinNode:
		if !slices.Contains(functions, n.Name) {
			c.fail(n, fmt.Sprintf("there is no function %q", n.Name), choices(n.Name, functions))
		}
	case *ast.CallNode:
		name := n.Callee.String()
		c.msg = "" // the callee was visited as a variable
		c.fail(n, fmt.Sprintf("there is no function %q", name), choices(name, functions))
	case *ast.MemberNode, *ast.SliceNode, *ast.ChainNode, *ast.MapNode, *ast.PairNode, *ast.PointerNode,
		*ast.PredicateNode, *ast.VariableDeclaratorNode, *ast.SequenceNode, *ast.NilNode:
		c.fail(n, fmt.Sprintf("%q is more than a condition can do", n.String()), "use comparisons, arithmetic, and, or, not, in")
	}
}

// fail notes the first mistake.
func (c *checker) fail(at ast.Node, msg, hint string) {
	if c.msg == "" {
		c.msg, c.hint, c.column = msg, hint, at.Location().From+1
	}
}

func names(vars []variable) []string {
	out := make([]string, len(vars))
	for i, v := range vars {
		out[i] = v.Name
	}
	return out
}

// guards rewrites an expression so that it is true only if Kleene's logic makes it so: "not"
// is pushed down to the comparisons, and each comparison gets a test that all it names is
// known.
type guards struct{ vars []variable }

// truth returns the text of "n is known to be true".
func (g guards) truth(n ast.Node) string {
	switch n := n.(type) {
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			return g.falsity(n.Node)
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&":
			return "(" + g.truth(n.Left) + " and " + g.truth(n.Right) + ")"
		case "or", "||":
			return "(" + g.truth(n.Left) + " or " + g.truth(n.Right) + ")"
		}
	case *ast.ConditionalNode:
		return "(" + g.truth(n.Cond) + " and " + g.truth(n.Exp1) + " or " + g.falsity(n.Cond) + " and " + g.truth(n.Exp2) + ")"
	}
	return "(" + g.known(n) + "(" + n.String() + "))"
}

// falsity returns the text of "n is known to be false".
func (g guards) falsity(n ast.Node) string {
	switch n := n.(type) {
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			return g.truth(n.Node)
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&":
			return "(" + g.falsity(n.Left) + " or " + g.falsity(n.Right) + ")"
		case "or", "||":
			return "(" + g.falsity(n.Left) + " and " + g.falsity(n.Right) + ")"
		}
	case *ast.ConditionalNode:
		return "(" + g.truth(n.Cond) + " and " + g.falsity(n.Exp1) + " or " + g.falsity(n.Cond) + " and " + g.falsity(n.Exp2) + ")"
	}
	return "(" + g.known(n) + "not (" + n.String() + "))"
}

// known returns "a and b and " for the companions of the nullable variables in n.
func (g guards) known(n ast.Node) string {
	var b strings.Builder
	for _, name := range g.uses(n) {
		i := slices.IndexFunc(g.vars, func(v variable) bool { return v.Name == name })
		if i >= 0 && g.vars[i].nullable {
			b.WriteString("__" + name + " and ")
		}
	}
	return b.String()
}

// uses returns the variables that n names, sorted.
func (g guards) uses(n ast.Node) []string {
	var u collector
	ast.Walk(&n, &u)
	slices.Sort(u)
	return slices.Compact(u)
}

type collector []string

// Visit notes the names of variables.
func (c *collector) Visit(node *ast.Node) {
	if id, ok := (*node).(*ast.IdentifierNode); ok {
		*c = append(*c, id.Value)
	}
}

// holds runs the condition over facts. An expression that fails at run time (it divides by
// zero, say) does not hold.
func (c *condition) holds(machine *vm.VM, env any) bool {
	if c.program == nil {
		return false
	}
	out, err := machine.Run(c.program, env)
	return err == nil && out == true
}

// usesAny tells whether the condition names one of the variables that want holds for.
func usesAny(uses []string, vars []variable, want func(variable) bool) bool {
	return slices.ContainsFunc(vars, func(v variable) bool { return want(v) && slices.Contains(uses, v.Name) })
}

// field returns the value of a variable in facts.
func field(env any, v variable) (x any, known bool) {
	s := reflect.ValueOf(env).Elem()
	f := s.FieldByName(v.field)
	if v.nullable {
		t, _ := s.Type().FieldByName(v.field)
		if !s.FieldByName(t.Tag.Get("nullable")).Bool() {
			return nil, false
		}
	}
	return f.Interface(), true
}
