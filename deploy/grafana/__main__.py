"""Writes the JSON of the dashboards: `python -m deploy.grafana`."""

from deploy.grafana.generated import DASHBOARDS_FOLDER, generated_dashboards

if __name__ == "__main__":
    for name, text in generated_dashboards().items():
        (DASHBOARDS_FOLDER / f"{name}.json").write_text(text)
