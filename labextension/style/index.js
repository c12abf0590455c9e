import './panel.css';
import './tabs.css';
