"""Vision-language backbones behind one interface (`base.Backbone`)."""
