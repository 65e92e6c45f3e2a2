"""Horizontal bars as SVG, drawn by gnuplot."""
import subprocess


def bars(path, title, figures, unit="IOPS", digits=0):
    """figures: [(label, value)]; ours stand out."""
    lines = [f"{len(figures) - i}\t{value}\t{label}" for i, (label, value) in enumerate(figures)]
    ours = "\n".join(line for line in lines if "splitring" in line)
    others = "\n".join(line for line in lines if "splitring" not in line)
    tics = ", ".join(f'"{label}" {len(figures) - i}' for i, (label, _) in enumerate(figures))
    top = max(value for _, value in figures) * 1.15
    drawn = [(name, color, title) for name, lines, color, title in
             (("$ours", ours, "#c5702a", "splitring"), ("$others", others, "#5b7db1", "peers")) if lines]
    boxes = [f'{name} using ($2/2):1:($2/2):(0.36) with boxxyerrorbars lc rgb "{color}" title "{title}"'
             for name, color, title in drawn]
    numbers = [f'{name} using ($2+{top}*0.01):1:(sprintf("%.{digits}f", $2)) with labels left notitle'
               for name, *_ in drawn]
    script = f"""
set terminal svg size 860,{120 + 30 * len(figures)} font "DejaVu Sans,12" background "white"
set output "{path}"
set title "{title}: {unit}, median of the rounds"
set ytics ({tics}) nomirror
set yrange [0.4:{len(figures)}.6]
set xrange [0:{top}]
set format x "%.1s%c"
set grid x
set border 3
set tics nomirror
set key outside bottom center horizontal
set style fill solid 0.85 noborder
$ours << EOD
{ours}
EOD
$others << EOD
{others}
EOD
plot {", ".join(boxes + numbers)}
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)
