"""Colours, type and spacing of the page, on Gradio's plainest theme; nothing is fetched from elsewhere."""

from gradio.themes import Base


def theme() -> Base:
    """Indigo on slate, in the system's own fonts; its contrasts pass WCAG AA in light and dark."""
    base = Base(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="lg",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return base.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        block_info_text_color="*neutral_600",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
    )
