//! The confusion matrix: the predictions for the images of each class.

use std::fmt::Write;

use super::open;
use crate::display::html::escape;

/// Width and height of the matrix with the names beside it.
const SIDE: f64 = 420.0;
/// Room for the names, on the left and above.
const MARGIN: f64 = 90.0;
/// Most classes of a matrix whose cells have numbers.
const MOST_NUMBERED: usize = 12;
/// Most classes of a matrix whose rows and columns have names.
const MOST_NAMED: usize = 2 * MOST_NUMBERED;

/// Where the cells are, and the names of the classes.
struct Grid<'a> {
    classes: usize,
    names: &'a [&'a str],
    /// Width and height of a cell.
    cell: f64,
}

/// Rows are classes, columns predictions; the shade is the share of the row.
pub(crate) fn confusion(rows: &[Vec<u64>], names: &[&str]) -> String {
    let classes = rows.len();
    let grid = Grid {
        classes,
        names,
        cell: (SIDE - MARGIN) / classes.max(1) as f64,
    };
    // The slanted name of the last column extends over the edge.
    let mut svg = open(SIDE + 40.0, SIDE, "Confusion matrix");
    for (class, counts) in rows.iter().enumerate() {
        grid.row(&mut svg, class, counts);
        if classes <= MOST_NAMED {
            grid.label(&mut svg, class);
        }
    }
    let _ = write!(
        svg,
        "<rect class=\"frame\" x=\"{MARGIN}\" y=\"{MARGIN}\" width=\"{0:.1}\" height=\"{0:.1}\"/></svg>",
        SIDE - MARGIN
    );
    format!(
        "<figure class=\"matrix\"><h3>Confusion matrix</h3>{svg}<figcaption>Rows: what an image is; columns: what it \
         was taken for.</figcaption></figure>\n"
    )
}

impl Grid<'_> {
    /// Where the row and the column of a class begin.
    fn at(&self, class: usize) -> f64 {
        MARGIN + class as f64 * self.cell
    }

    fn name(&self, class: usize) -> String {
        escape(self.names.get(class).unwrap_or(&"?"))
    }

    /// The cells of a class that are not empty.
    fn row(&self, svg: &mut String, class: usize, counts: &[u64]) {
        let whole = counts.iter().sum::<u64>().max(1) as f64;
        for (predicted, &count) in counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
            let share = count as f64 / whole;
            let kind = if class == predicted { "hit" } else { "miss" };
            let cell = self.cell;
            let _ = write!(
                svg,
                "<rect class=\"{kind}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{cell:.2}\" height=\"{cell:.2}\" \
                 fill-opacity=\"{:.3}\"><title>{} as {}: {count}</title></rect>",
                self.at(predicted),
                self.at(class),
                share.sqrt(),
                self.name(class),
                self.name(predicted)
            );
            if self.classes <= MOST_NUMBERED {
                let strong = if share > 0.35 { " strong" } else { "" };
                let x = self.at(predicted) + cell / 2.0;
                let y = self.at(class) + cell / 2.0 + 4.0;
                let _ = write!(
                    svg,
                    "<text class=\"middle cell{strong}\" x=\"{x:.1}\" y=\"{y:.1}\">{count}</text>"
                );
            }
        }
    }

    /// The name of a class, beside its row and, slanted, above its column.
    fn label(&self, svg: &mut String, class: usize) {
        let name = self.name(class);
        let (before, middle) = (MARGIN - 6.0, self.at(class) + self.cell / 2.0 + 4.0);
        let _ = write!(
            svg,
            "<text class=\"end\" x=\"{before:.1}\" y=\"{middle:.1}\">{name}</text>\
             <text transform=\"translate({middle:.1} {before:.1}) rotate(-60)\">{name}</text>"
        );
    }
}
