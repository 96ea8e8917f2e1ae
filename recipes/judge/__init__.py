"""Choose the settings of the small models, and judge the models for their cards."""
