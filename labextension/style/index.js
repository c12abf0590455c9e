import './panel.css';
import './tabs.css';
import './outputs.css';
