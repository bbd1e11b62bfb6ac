package cli

import (
	"strings"
	"unicode/utf8"
)

// table is text in columns, in the form that pipelines know. What comes in is cleaned.
type table struct {
	columns []string
	rows    [][]string
}

// text draws the table. Paint may color a cell after its width is known; nil leaves all as they are.
func (t *table) text(paint func(column, text string) string) string {
	rows := make([][]string, 0, len(t.rows)+1)
	rows = append(rows, t.columns)
	width := make([]int, len(t.columns))
	for i, name := range t.columns {
		width[i] = utf8.RuneCountInString(name)
	}
	for _, row := range t.rows {
		cleaned := make([]string, len(row))
		for i, cell := range row {
			cleaned[i] = clean(cell)
			width[i] = max(width[i], utf8.RuneCountInString(cleaned[i]))
		}
		rows = append(rows, cleaned)
	}
	var b strings.Builder
	line := func() {
		for _, w := range width {
			b.WriteString("│" + strings.Repeat("─", w+2))
		}
		b.WriteString("│\n")
	}
	line()
	for n, row := range rows {
		for i, cell := range row {
			fill := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if paint != nil && n > 0 {
				cell = paint(t.columns[i], cell)
			}
			b.WriteString("│ " + cell + fill + " ")
		}
		b.WriteString("│\n")
		if n == 0 {
			line()
		}
	}
	line()
	return b.String()
}
