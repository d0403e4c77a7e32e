"""The commands of `dequant`. Each imports what is heavy only when it runs."""

from typing import Annotated

import typer

import dequant
from dequant.cli import data, edits, palette, tools, weights
from dequant.cli.colorize import colorize
from dequant.cli.options import examples
from dequant.cli.serve import serve
from dequant.cli.studio import studio
from dequant.cli.video import video

app = typer.Typer(
    help="Edit the colours of photographs, look at their palettes, and prepare weights and photos.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command(
    epilog=examples(
        "dequant dequantize dithered.gif",
        "dequant dequantize photos/ -n 16 -o restored/",
    )
)(edits.dequantize)
app.command(
    epilog=examples(
        "dequant transfer photo.jpg --palette reference.jpg",
        "dequant transfer photos/ --palette viridis -n 16 -o viridis/ --resume",
        "dequant transfer photo.jpg -p '#1b2a49, #e8c07d, #7d9a6b' -k 4 -o '{stem}.{op}.png'",
        "dequant transfer photo.jpg --pin-color '#aa0000=#00aa88' --pin 120,80=navy",
    )
)(edits.transfer)
app.command(
    epilog=examples(
        "dequant recolor photo.jpg --at 120,80 --color tomato",
        "dequant recolor photo.jpg --region mask.png=#204080 --region 10,10,90,60=gold",
    )
)(edits.recolor)
app.command(
    epilog=examples(
        "dequant repaint photo.jpg -n 8 --pin-color '#aa0000=#00aa88'",
        "dequant repaint photo.jpg -n 8 --pin-color '#aa0000=#00aa88' --pin 120,80=navy --region mask.png=gold",
    )
)(edits.repaint)
app.command(
    epilog=examples(
        "dequant colorize old.jpg",
        "dequant colorize old.jpg --prompt 'a red car on green' --scale auto",
        "dequant colorize album/ --colorfulness holiday.jpg -o coloured/ --resume",
        "dequant colorize old.jpg --method semantic --region '120,80=a blue coat'",
        "dequant colorize dog.jpg --method diffcolor --prompt 'a dog on a bench' --edit 'a brown dog on a red bench'",
    )
)(colorize)
app.command(
    epilog=examples(
        "dequant video frames/ --palette viridis -o viridis/",
        "dequant video clip.mp4 --pin-color '#aa0000=#00aa88' -o teal.mp4",
    )
)(video)
app.command(
    epilog=examples(
        "dequant replay photo.transfer.png other.jpg",
        "dequant replay photo.transfer.jpg.yaml photos/ -o like_it/",
    )
)(edits.replay)
app.command(
    epilog=examples(
        "dequant inspect photo.jpg --out seen",
        "dequant inspect photo.jpg --variant L -n 8 --quantizer kmeans --out seen",
    )
)(palette.inspect)
app.command(
    epilog=examples(
        "dequant lock edited.png --source photo.jpg --mask mask.png",
        "dequant lock edited/ --source photos/ -o locked/",
    )
)(tools.lock)
app.command(epilog=examples("dequant lut photo.transfer.png --source photo.jpg -o look.cube"))(tools.lut)
app.command(epilog=examples("dequant info --json"))(tools.info)
app.add_typer(palette.app, name="palette")
app.add_typer(weights.app, name="convert")
app.command(
    epilog=examples(
        "dequant shards photos shards --max-mb 100",
        "dequant shards photos shards --groups nature,things --objects things --segment",
    )
)(data.shards)
app.command(epilog=examples("dequant studio --port 8080", "dequant studio --host 0.0.0.0 --token new"))(studio)
app.command(epilog=examples("dequant serve --max-mb 200", "dequant serve --port 8080 --max-mb 200"))(serve)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"dequant {dequant.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself; its help is the application's."""
